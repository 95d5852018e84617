//! The checks that need no kernel: format, clippy for both targets, licences of what is linked, tidiness of the tree.

use std::{path::Path, process::ExitCode};

use anyhow::Result;

use crate::{build, licences, setup, setup::BpfToolchain, tally::Tally, tidy, tool};

/// Runs all checks of this module.
pub(crate) fn run() -> Result<ExitCode> {
    setup::lints()?;
    let (toolchain, linker) = setup::build()?;
    let mut tally = Tally::default();
    checks(&mut tally, &toolchain, &linker);
    Ok(tally.close())
}

/// The same, as a part of a larger account.
pub(crate) fn checks(tally: &mut Tally, toolchain: &BpfToolchain, linker: &Path) {
    tally.check("format", "cargo fmt", || {
        tool::quiet(tool::cargo("fmt").args(["--all", "--check"]))
    });
    tally.check("clippy, userspace", "cargo clippy", || {
        tool::quiet(
            tool::cargo("clippy")
                .args([
                    "--workspace",
                    "--exclude",
                    "probe-ebpf",
                    "--all-targets",
                    "--quiet",
                ])
                .args(DENY),
        )
    });
    tally.check("clippy, eBPF", "cargo clippy for the BPF target", || {
        tool::quiet(
            build::bpf_cargo(toolchain, linker, "clippy")
                .arg("--quiet")
                .args(DENY),
        )
    });
    tally.check("licences", "cargo metadata", licences::check);
    tally.check("tidy", "git ls-files", tidy::check);
}

const DENY: [&str; 3] = ["--", "-D", "warnings"];
