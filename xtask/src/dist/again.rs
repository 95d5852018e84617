//! Whether the same sources give the same bytes: the packages made twice, and the binary built in a checkout elsewhere.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{paths, progress, tool};

/// Packages `binary` once more and holds the bytes to those in `directory`.
pub(crate) fn package(binary: &Path, directory: &Path) -> Result<()> {
    let again = tempfile::tempdir().context("cannot make a temporary directory")?;
    for second in super::packages(binary, again.path())? {
        let name = second.file_name().context("a package without a name")?;
        hold(&directory.join(name), &second)?;
    }
    progress::note("dist: packaged twice, byte for byte the same");
    Ok(())
}

/// Builds the last commit in a clone and holds its binary to `binary`. Takes as long as a first build does.
pub(crate) fn build(binary: &Path) -> Result<()> {
    let elsewhere = tempfile::tempdir().context("cannot make a temporary directory")?;
    let clone = elsewhere.path().join("checkout");
    let mut git = Command::new("git");
    git.args(["clone", "--quiet"]).arg(paths::workspace()).arg(&clone);
    tool::quiet(&mut git)?;
    let step = progress::step("dist", "the same build in a checkout elsewhere");
    let said = tool::capture(
        Command::new(env!("CARGO"))
            .current_dir(&clone)
            .args(["xtask", "build", "--release"])
            .env_remove("CARGO_TARGET_DIR"),
    )?;
    let path = said
        .lines()
        .last()
        .context("`cargo xtask build` names no binary")?;
    hold(binary, &PathBuf::from(path))?;
    step.done("byte for byte the same");
    Ok(())
}

fn hold(first: &Path, second: &Path) -> Result<()> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let (one, other) = (read(first)?, read(second)?);
    let differs = one.iter().zip(&other).position(|(one, other)| one != other);
    ensure!(
        one == other,
        "{} is another one the second time: {} and {} bytes, first apart at {}",
        first.display(),
        one.len(),
        other.len(),
        differs.unwrap_or(one.len().min(other.len()))
    );
    Ok(())
}
