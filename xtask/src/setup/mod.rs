//! Makes a machine ready: the programs and libraries that building and the lab need.
//!
//! Every command calls the part that it needs ([`lab`], [`kernels`], [`kvm_build`], [`build`], [`fuzz`], [`lints`],
//! [`shipped`]), which only looks if all is there. What is needed is [`need`]'s table, installing it [`apt`]'s; choosing a
//! compiler for BPF is [`toolchain`]'s and providing bpf-linker [`linker`]'s.

mod apt;
mod linker;
mod need;
mod toolchain;

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use self::need::Need;
pub(crate) use self::toolchain::{BPF_TARGET, BpfToolchain};
use crate::{progress, tool};

/// `cargo xtask setup`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only say what is there and what is missing
    #[arg(long)]
    check: bool,
}

/// This machine lacks something that xtask may not or cannot install by itself.
#[derive(Debug, thiserror::Error)]
#[error("{missing}.\n{remedy}")]
pub(crate) struct NotReady {
    /// What is missing, as a sentence without its full stop.
    pub(crate) missing: String,
    /// What to do about it, with the commands.
    pub(crate) remedy: String,
}

/// Sets everything up, or with `--check` only says how things stand.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.check {
        return check();
    }
    provide(need::ALL)?;
    let (toolchain, linker) = build()?;
    report(&toolchain, &linker);
    Ok(())
}

/// What booting the lab needs.
pub(crate) fn lab() -> Result<()> {
    provide(need::LAB)
}

/// What fetching kernels needs.
pub(crate) fn kernels() -> Result<()> {
    provide(need::KERNELS)
}

/// What building a KVM other than a kernel's own needs.
pub(crate) fn kvm_build() -> Result<()> {
    provide(need::KVM_BUILD)
}

/// What building needs; returns the compiler and the linker for BPF.
pub(crate) fn build() -> Result<(BpfToolchain, PathBuf)> {
    provide(need::BUILD)?;
    let toolchain = match BpfToolchain::find() {
        Ok(toolchain) => toolchain,
        Err(none) => {
            progress::note(none.not_ready().missing);
            provide(need::BPF_COMPILER)?;
            BpfToolchain::find().map_err(toolchain::NoToolchain::not_ready)?
        }
    };
    let linker = match linker::find()? {
        Some(linker) => linker,
        None => {
            provide(need::BPF_LINKER)?;
            linker::install()?
        }
    };
    Ok((toolchain, linker))
}

/// What building the fuzz targets needs.
pub(crate) fn fuzz() -> Result<()> {
    provide(need::FUZZ)
}

/// What testing needs of all that ships beside the binary, and the lab's cases of the programs that run with it.
pub(crate) fn shipped() -> Result<()> {
    provide(need::SHIPPED)
}

/// What linting needs: git, and cargo's parts for the userspace crates, which rustup's minimal profile lacks.
pub(crate) fn lints() -> Result<()> {
    provide(need::LINTS)?;
    let has =
        |subcommand: &str| tool::capture(Command::new(env!("CARGO")).args([subcommand, "--version"])).is_ok();
    let missing: Vec<&str> = [("fmt", "rustfmt"), ("clippy", "clippy")]
        .iter()
        .filter(|(name, _)| !has(name))
        .map(|(_, part)| *part)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let step = progress::step("setup", format_args!("rustup to add {}", missing.join(" and ")));
    tool::quiet(Command::new("rustup").args(["component", "add"]).args(&missing)).map_err(|error| {
        NotReady {
            missing: format!("cargo lacks {}", missing.join(" and ")),
            remedy: format!("{error:#}\nAdd them: rustup component add {}", missing.join(" ")),
        }
    })?;
    step.done("added");
    Ok(())
}

/// The static busybox of the tiny userland.
pub(crate) fn busybox() -> Result<PathBuf> {
    need::static_busybox().context("no static busybox; `cargo xtask setup` installs it")
}

fn provide(needs: &[Need]) -> Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !need.is_met()).collect();
    if missing.is_empty() {
        Ok(())
    } else {
        apt::install(&missing)
    }
}

fn check() -> Result<()> {
    let missing: Vec<&Need> = need::ALL.iter().filter(|need| !need.is_met()).collect();
    match (BpfToolchain::find(), linker::find()?) {
        (Ok(toolchain), Some(linker)) if missing.is_empty() => {
            report(&toolchain, &linker);
            return Ok(());
        }
        (toolchain, linker) => {
            progress::note(match toolchain {
                Ok(toolchain) => format!("BPF compiler: {toolchain}"),
                Err(none) => format!("BPF compiler: none, {}", none.not_ready().missing),
            });
            progress::note(match linker {
                Some(linker) => format!("BPF linker: {}", linker.display()),
                None => "BPF linker: none".to_owned(),
            });
        }
    }
    let names: Vec<&str> = missing.iter().map(|need| need.what).collect();
    let names = if names.is_empty() {
        "only the BPF toolchain".to_owned()
    } else {
        names.join(", ")
    };
    Err(NotReady {
        missing: format!("this machine is not ready; missing: {names}"),
        remedy:
            "`cargo xtask setup` as root installs it on Debian and Ubuntu, and says elsewhere what to install"
                .to_owned(),
    }
    .into())
}

fn report(toolchain: &BpfToolchain, linker: &std::path::Path) {
    progress::note(format_args!("BPF compiler: {toolchain}"));
    progress::note(format_args!("BPF linker: {}", linker.display()));
    progress::note("this machine is ready");
}
