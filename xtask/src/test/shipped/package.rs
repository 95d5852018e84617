//! The `.deb` on a host: a lab boot in which dpkg installs, upgrades, removes and purges it over this machine's own files,
//! whose changes are thrown away, and systemd runs what it installs.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use lab_protocol::Userland;

use super::script::Script;
use crate::{
    build::Binaries,
    dist::{self, Content, Release},
    kernels::Kernel,
    test::suite::CaseEnd,
};

/// What happens there.
const LIFE: Script = Script {
    name: "package-life.sh",
    text: include_str!("package-life.sh"),
    userland: Userland::Systemd,
    // dpkg reads its database over 9p, emulated.
    limit: Duration::from_secs(900),
};

/// About how long it takes, in a suite's cases.
pub(in crate::test) const WEIGHT: usize = 15;

/// The end of both conffiles in the later release.
const LATER: &str = "# of a later release\n";
const CHANGED: [&str; 2] = ["packaging/ldrscope.toml", "packaging/ldrscope.logrotate"];

/// Runs it on `kernel`.
pub(in crate::test) fn live(kernel: Kernel, binaries: &Binaries) -> CaseEnd {
    let name = format!("{} package", kernel.series());
    CaseEnd::of(name, "the lab, for dpkg", || attempt(kernel, binaries))
}

fn attempt(kernel: Kernel, binaries: &Binaries) -> Result<()> {
    let exchange = tempfile::tempdir().context("cannot make a temporary directory")?;
    put_packages(&binaries.ldrscope, exchange.path())?;
    LIFE.run(kernel, binaries, exchange.path()).map(drop)
}

/// A release, and the next one.
fn put_packages(binary: &Path, exchange: &Path) -> Result<()> {
    let release = Release::of_the_sources()?;
    let content = Content::gather(&release, binary)?;
    let later = Release {
        version: format!("{}+later", release.version),
        ..release
    };
    let changed = CHANGED.iter().fold(content.clone(), |content, path| {
        content.with_addition(path, LATER)
    });
    for (release, content, name) in [(&release, &content, "old.deb"), (&later, &changed, "new.deb")] {
        let made = dist::deb(release, content, exchange)?;
        fs::rename(&made, exchange.join(name))
            .with_context(|| format!("cannot rename {}", made.display()))?;
    }
    Ok(())
}
