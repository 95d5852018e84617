//! Takes out of kernel packages what the lab boots: the image, its configuration, and the few modules that are needed.
//!
//! Modules come out uncompressed, in a tree of their own with fresh indexes, so that neither PID 1 nor the lab's `modprobe`
//! needs a decompressor. The order in which to load them is asked of `modprobe` here, once, and kept.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::tool;

/// What PID 1 cannot do without: its ports, and the outer machine's root. 9p's and the overlay's last.
const TRANSPORT: &[&str] = &["virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay"];

/// KVM on an AMD host, which is what TCG emulates. 5.10's ccp fails without rng-core, which no dependency says.
const KVM: &[&str] = &["rng-core", "kvm", "kvm-amd"];

/// What was taken out of the packages of one kernel.
#[derive(Debug)]
pub(crate) struct Unpacked {
    /// `uname -r`.
    pub(crate) release: String,
    /// Directory that holds `vmlinuz`, `config` if there was one, and `lib/modules/RELEASE`.
    pub(crate) directory: PathBuf,
    /// Transport modules in load order, relative to `directory`.
    pub(crate) transport: Vec<PathBuf>,
    /// KVM's modules in load order, relative to `directory`.
    pub(crate) kvm: Vec<PathBuf>,
}

/// Unpacks `packages` below `scratch`.
pub(crate) fn unpack(packages: &[PathBuf], scratch: &Path) -> Result<Unpacked> {
    let (everything, kept) = (scratch.join("everything"), scratch.join("kept"));
    for package in packages {
        tool::quiet(Command::new("dpkg").arg("-x").arg(package).arg(&everything))?;
    }
    merge_usr(&everything)?;
    let release = release_of(&everything)?;
    let modules = everything.join("lib/modules").join(&release);
    tool::quiet(tool::command("depmod").arg("-b").arg(&everything).arg(&release))?;

    let transport = load_order(&everything, &release, TRANSPORT)?;
    let kvm = load_order(&everything, &release, KVM)?;
    let places: BTreeSet<PathBuf> = transport.iter().chain(&kvm).cloned().collect();
    for place in &places {
        keep_module(&everything.join(place), &kept.join(uncompressed(place)))?;
    }
    for index in ["modules.order", "modules.builtin", "modules.builtin.modinfo"] {
        keep_if_there(
            &modules.join(index),
            &kept.join("lib/modules").join(&release).join(index),
        )?;
    }
    tool::quiet(tool::command("depmod").arg("-b").arg(&kept).arg(&release))?;
    let boot = everything.join("boot");
    let image = [boot.join(format!("vmlinuz-{release}")), modules.join("vmlinuz")];
    let image = image
        .iter()
        .find(|path| path.exists())
        .context("the packages hold no vmlinuz")?;
    keep_if_there(image, &kept.join("vmlinuz"))?;
    keep_if_there(&boot.join(format!("config-{release}")), &kept.join("config"))?;
    keep_if_there(&modules.join("config"), &kept.join("config"))?;
    let plain = |order: Vec<PathBuf>| order.iter().map(|place| uncompressed(place)).collect();
    Ok(Unpacked {
        release,
        directory: kept,
        transport: plain(transport),
        kvm: plain(kvm),
    })
}

/// Newer packages put `lib/modules` under `usr`, where `depmod -b` does not look.
fn merge_usr(root: &Path) -> Result<()> {
    let (new, old) = (root.join("usr/lib/modules"), root.join("lib/modules"));
    if new.exists() && !old.exists() {
        fs::create_dir_all(root.join("lib")).context("cannot arrange the unpacked kernel")?;
        fs::rename(&new, &old).context("cannot arrange the unpacked kernel")?;
    }
    Ok(())
}

fn release_of(root: &Path) -> Result<String> {
    let directory = root.join("lib/modules");
    let mut names = fs::read_dir(&directory).context("the packages hold no modules")?;
    let first = names
        .next()
        .context("the packages hold no modules")?
        .context("cannot list the modules")?;
    ensure!(
        names.next().is_none(),
        "the packages hold modules of more than one kernel"
    );
    first
        .file_name()
        .into_string()
        .map_err(|name| anyhow::anyhow!("odd kernel release {}", name.display()))
}

/// The files to load for `names` and all they depend on, in order, relative to `root`.
fn load_order(root: &Path, release: &str, names: &[&str]) -> Result<Vec<PathBuf>> {
    let mut order = Vec::new();
    for name in names {
        let mut command = tool::command("modprobe");
        command
            .arg("-d")
            .arg(root)
            .args(["-S", release, "--show-depends", name]);
        for line in tool::capture(&mut command)?.lines() {
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("insmod"), Some(file)) => {
                    let place = Path::new(file)
                        .strip_prefix(root)
                        .context("modprobe names a module elsewhere")?;
                    if !order.iter().any(|known| known == place) {
                        order.push(place.to_owned());
                    }
                }
                (Some("builtin"), _) => {}
                _ => bail!("modprobe said {line:?} about {name}"),
            }
        }
    }
    Ok(order)
}

/// A module's place once it is decompressed: without `.xz`, `.zst` or `.gz`.
fn uncompressed(place: &Path) -> PathBuf {
    match place.extension().and_then(OsStr::to_str) {
        Some("ko") | None => place.to_owned(),
        Some(_) => place.with_extension(""),
    }
}

fn keep_module(from: &Path, to: &Path) -> Result<()> {
    let program = match from.extension().and_then(OsStr::to_str) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => return keep_if_there(from, to),
    };
    let packed = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    let plain = tool::filter(Command::new(program).args(["-d", "-c", "-q"]), packed)?;
    make_parent(to)?;
    fs::write(to, plain).with_context(|| format!("cannot write {}", to.display()))
}

fn keep_if_there(from: &Path, to: &Path) -> Result<()> {
    if from.exists() {
        make_parent(to)?;
        fs::copy(from, to).with_context(|| format!("cannot keep {}", from.display()))?;
    }
    Ok(())
}

fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_compression_suffix_is_dropped() {
        assert_eq!(uncompressed(Path::new("a/kvm.ko.xz")), Path::new("a/kvm.ko"));
        assert_eq!(uncompressed(Path::new("a/kvm.ko.zst")), Path::new("a/kvm.ko"));
        assert_eq!(uncompressed(Path::new("a/kvm-amd.ko")), Path::new("a/kvm-amd.ko"));
    }
}
