//! The `.deb` on a host: a lab boot in which dpkg installs, upgrades, removes and purges it over this machine's own files,
//! whose changes are thrown away, and systemd runs what it installs.

use std::{
    fs::{self, File},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use lab_protocol::Userland;

use crate::{
    build::Binaries,
    dist::{self, Content, Release},
    kernels::Kernel,
    lab::{Channels, Host, Input, Session},
    paths,
    test::suite::CaseEnd,
};

/// What happens there.
const LIFE: &str = include_str!("package-life.sh");
const SCRIPT: &str = "package-life.sh";

/// dpkg reads its database over 9p, emulated.
const LIMIT: Duration = Duration::from_secs(900);

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

    let directory = paths::target().join("lab");
    fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let path = directory.join("package-life.log");
    let log = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    let session = Session {
        host: Host {
            userland: Userland::Systemd,
            exchange: Some(exchange.path().to_owned()),
            ..Host::plain(kernel.series())
        },
        kernel,
        binaries: binaries.clone(),
        argv: vec![
            "sh".to_owned(),
            format!("{}/{SCRIPT}", lab_protocol::order::EXCHANGE),
        ],
        directory: "/".to_owned(),
        timeout: Some(LIMIT),
    };
    let channels = Channels {
        output: Box::new(log.try_clone().context("cannot duplicate the log")?),
        error: Box::new(log),
        on_case: Box::new(|_| ()),
    };
    let status = session.run(Input::Empty, channels)?;
    if status != 0 {
        let said = fs::read_to_string(&path).unwrap_or_default();
        let broken: Vec<_> = said.lines().filter(|line| line.starts_with("BROKEN")).collect();
        bail!(
            "the package broke {} promises, all that happened is in {}:\n{}",
            broken.len(),
            path.display(),
            broken.join("\n")
        );
    }
    Ok(())
}

/// A release, the next one, and the script that lives through both.
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
    fs::write(exchange.join(SCRIPT), LIFE).with_context(|| format!("cannot write {SCRIPT}"))
}
