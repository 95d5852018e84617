//! The systemd unit: without a fault, and with no more exposure than its work needs.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};

use super::read;
use crate::tool;

const UNIT: &str = "packaging/ldrscope.service";
const BINARY: &str = "/usr/bin/ldrscope";

/// Tenths of systemd's figure from 0 to 10; 252 says 3.2, others know other settings. What is left is CAP_SYS_ADMIN, the
/// port of the metrics, and what the unit's comments tell of.
const MOST_EXPOSURE: &str = "40";

/// Fails with what systemd says.
pub(super) fn check(ldrscope: &Path) -> Result<()> {
    let unit = read(UNIT)?;
    ensure!(unit.contains(BINARY), "{UNIT} does not start {BINARY}");
    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    let path = directory.path().join("ldrscope.service");
    // The program must exist where the unit is verified.
    let there = unit.replace(BINARY, &ldrscope.display().to_string());
    fs::write(&path, there).context("cannot write the unit")?;
    // Its warnings do not change its status.
    let said = tool::said_by(
        tool::command("systemd-analyze")
            .args(["verify", "--man=no"])
            .arg(&path),
    )?;
    ensure!(said.is_empty(), "systemd-analyze verify {UNIT}: {said}");
    tool::quiet(
        tool::command("systemd-analyze")
            .args([
                "security",
                "--offline=true",
                "--no-pager",
                "--threshold",
                MOST_EXPOSURE,
            ])
            .arg(&path),
    )
}
