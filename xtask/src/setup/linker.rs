//! Provides bpf-linker, which turns LLVM bitcode into the eBPF object: one that is there, else built into the user's cache.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use crate::{paths, progress, tool};

/// Proven with rustc 1.95 and 1.96.
const VERSION: &str = "0.13.0";

/// The major version of LLVM that it is built on: it reads bitcode of this one and older.
pub(crate) const LLVM: u32 = 22;

/// What `cargo install` is told about LLVM, and where Debian's package of it is.
const LLVM_FEATURE: &str = "llvm-22";
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";

const PROGRAM: &str = "bpf-linker";

/// The cache's bpf-linker or the one on `PATH`, if it is of the version that is wanted.
pub(crate) fn find() -> Result<Option<PathBuf>> {
    let cached = Some(root()?.join("bin").join(PROGRAM));
    Ok([cached, tool::find(PROGRAM)].into_iter().flatten().find(|path| {
        let said = tool::capture(Command::new(path).arg("--version"));
        said.is_ok_and(|said| said.split_whitespace().nth(1) == Some(VERSION))
    }))
}

/// Builds bpf-linker into the cache.
pub(crate) fn install() -> Result<PathBuf> {
    let root = root()?;
    let step = progress::step(
        "setup",
        format_args!("cargo to build bpf-linker {VERSION}, about a minute"),
    );
    let mut command = Command::new("cargo");
    command
        .args([
            "install",
            PROGRAM,
            "--version",
            VERSION,
            "--locked",
            "--no-default-features",
        ])
        .args(["--features", LLVM_FEATURE, "--root"])
        .arg(&root)
        .env("LLVM_PREFIX", LLVM_PREFIX)
        // One for the tool, not one for each workspace that asks for it.
        .env_remove("CARGO_TARGET_DIR");
    tool::quiet(&mut command)?;
    step.done("installed");
    find()?.with_context(|| {
        format!(
            "bpf-linker was installed under {} but does not run",
            root.display()
        )
    })
}

fn root() -> Result<PathBuf> {
    Ok(paths::cache()?.join("tools"))
}
