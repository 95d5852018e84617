//! `btf-trim`: cuts the running kernel's BTF down to the structures that ldrscope looks into, as a fixture for the
//! tests of its reader.
//!
//! Run it inside the lab, and keep both halves of one kernel together: each is computed from the whole, so that the
//! split half continues the ids and string offsets of the base half. The format is [`format`]'s, what stays
//! [`selection`]'s, the new numbering [`renumber`]'s. Nothing of ldrscope's own reader is used: the one must not share
//! the other's mistakes.

mod format;
mod renumber;
mod selection;

use std::{
    fs,
    io::{self, ErrorKind, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, ValueEnum};

use crate::format::Blob;

/// Writes trimmed BTF of the running kernel to stdout.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// Which half to write
    half: Half,
    /// Folder that holds `vmlinux` and, where the kernel has BTF of modules, `kvm`
    #[arg(long, default_value = "/sys/kernel/btf")]
    from: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Half {
    /// The kernel's own types
    Vmlinux,
    /// What the module kvm adds to them
    Kvm,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    ensure!(
        !io::stdout().is_terminal(),
        "BTF is binary: redirect stdout to a file"
    );
    let base = read(&cli.from.join("vmlinux"))?
        .context("the kernel has no BTF: it must be built with CONFIG_DEBUG_INFO_BTF")?;
    let split = read(&cli.from.join("kvm"))?;
    let trimmed = renumber::trim(&base, split.as_ref())?;
    let half = match cli.half {
        Half::Vmlinux => trimmed.base,
        Half::Kvm => trimmed
            .split
            .context("there is no BTF of the module kvm: load it, or use a kernel from 5.11 on")?,
    };
    io::stdout()
        .write_all(&half.to_bytes())
        .context("cannot write to stdout")
}

/// Reads and parses one half; `None` where there is no such file.
fn read(path: &Path) -> Result<Option<Blob>> {
    match fs::read(path) {
        Ok(bytes) => {
            let blob = Blob::parse(&bytes).with_context(|| format!("{} is not BTF", path.display()))?;
            Ok(Some(blob))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}
