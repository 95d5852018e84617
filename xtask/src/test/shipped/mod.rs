//! What ships beside the binary, held to the programs that will read it: the alert rules to promtool, the unit to systemd,
//! the configuration and the documents' command lines to `ldrscope`, the page of a snapshot to a browser ([`page`]), the screen
//! of `top` to a terminal ([`screen`]), a reproduction to a compiler and a kernel ([`reproducer`]), the packages to dpkg on a
//! host ([`package`]); and all of it to each other's names.

pub(super) mod commands;
mod configuration;
mod dashboard;
mod families;
mod manifests;
pub(super) mod package;
mod page;
pub(super) mod reproducer;
mod rules;
mod screen;
mod script;
mod unit;

use std::{path::Path, process::ExitCode};

use anyhow::{Context as _, Result};
use yaml_rust2::{Yaml, YamlLoader};

use crate::{
    build::{self, Profile},
    dist,
    kernels::{self, Series},
    paths, setup,
    tally::Tally,
};

/// Builds, runs all checks of this module, a package's life on `series` among them, and prints their account.
pub(super) fn run(series: Series) -> Result<ExitCode> {
    setup::shipped()?;
    let binaries = build::build(Profile::Release)?;
    let mut tally = Tally::default();
    checks(&mut tally, &binaries.ldrscope);
    let kernel = kernels::ensure(series)?;
    for end in [
        commands::on_a_host(kernel.clone(), &binaries),
        reproducer::live(kernel.clone(), &binaries),
        package::live(kernel, &binaries),
    ] {
        tally.ended(end.name, end.failure, end.took);
    }
    Ok(tally.close())
}

/// Runs the checks that need no kernel; `ldrscope` is the binary.
pub(super) fn checks(tally: &mut Tally, ldrscope: &Path) {
    tally.check("alert rules", "promtool", rules::check);
    tally.check("dashboard", "promtool on its expressions", dashboard::check);
    tally.check("unit", "systemd-analyze", || unit::check(ldrscope));
    tally.check("configuration", "ldrscope serve --check-config", || {
        configuration::check(ldrscope)
    });
    tally.count(
        "documented command lines",
        "ldrscope, on the shipped recordings",
        || commands::check(ldrscope),
    );
    tally.check("page", "chromium, headless", page::check);
    tally.check("screen", "tmux", || screen::check(ldrscope));
    tally.check("manifests", "the YAML parser", manifests::check);
    tally.check("packages", "a second packaging", || {
        let directory = paths::target().join("dist");
        dist::packages(ldrscope, &directory)?;
        dist::again::package(ldrscope, &directory)
    });
}

/// A file of the sources, by its path there.
fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(paths::workspace().join(path)).with_context(|| format!("cannot read {path}"))
}

/// The documents of a YAML file of the sources.
fn yaml(path: &str) -> Result<Vec<Yaml>> {
    YamlLoader::load_from_str(&read(path)?).with_context(|| format!("{path} is no YAML"))
}

/// The text at `place`, keys from the outside in.
fn text<'a>(document: &'a Yaml, place: &[&str]) -> Option<&'a str> {
    place.iter().fold(document, |part, &key| &part[key]).as_str()
}
