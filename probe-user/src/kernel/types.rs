//! Reads this kernel's type information and resolves the layout from it, with the table of known builds behind it.

use std::{collections::BTreeMap, fs, io::ErrorKind, path::Path};

use super::{
    btf::{Btf, BtfError},
    hook,
    layout::{self, Resolved, known},
    obstacle::Obstacle,
    support::{KVM_BTF, VMLINUX_BTF},
};

/// Resolves the layout from the kernel's BTF and, where KVM is a module, the module's on top of it; or from
/// `named`: in the module's place where it continues the kernel's, by itself where it stands alone. Without either
/// a module's own structures are those of the build that `release` names, where it is a known one.
///
/// # Errors
///
/// `no-btf` where a file is missing, `unknown-layout` where it cannot be used or lacks a member.
pub fn resolve(named: Option<&Path>, release: &str) -> Result<Resolved, Obstacle> {
    let vmlinux = Path::new(VMLINUX_BTF);
    let module = Path::new(KVM_BTF);
    // A kernel with KVM built in has no file for it: its types are among the kernel's own.
    let path = named.or_else(|| module.exists().then_some(module));
    let unusable = |path: &Path, source: BtfError| Obstacle::BtfUnreadable {
        path: path.to_owned(),
        source: source.into(),
    };
    let top = path.map(read).transpose()?;
    let alone = match (path, &top) {
        (Some(path), Some(top)) => Btf::stands_alone(top).map_err(|error| unusable(path, error))?,
        _ => false,
    };
    let base = if alone { Vec::new() } else { read(vmlinux)? };
    let btf = match &top {
        Some(top) if alone => Btf::parse(top, None),
        top => Btf::parse(&base, top.as_deref()),
    };
    let btf = btf.map_err(|error| unusable(path.unwrap_or(vmlinux), error))?;
    let known = known::find(release).filter(|_| path.is_none());
    let resolved =
        layout::resolve(&btf, known).map_err(|error| Obstacle::FieldMissing { path: error.path() })?;
    // Ids of types are of no meaning but in the very BTF that the kernel holds.
    let functions = match named {
        None => btf.function_ids(&hook::functions()),
        Some(_) => BTreeMap::new(),
    };
    Ok(Resolved {
        functions,
        ..resolved
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Obstacle> {
    fs::read(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Obstacle::NoBtf {
            path: path.to_owned(),
        },
        _ => Obstacle::BtfUnreadable {
            path: path.to_owned(),
            source: error.into(),
        },
    })
}
