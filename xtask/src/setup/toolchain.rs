//! Chooses the Rust compiler for the eBPF object: one with a ready `core` for BPF, else a nightly that can build it.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
};

use super::NotReady;
use crate::tool;

/// The target of the eBPF object.
pub(crate) const BPF_TARGET: &str = "bpfel-unknown-none";

/// A compiler that can build for [`BPF_TARGET`].
#[derive(Debug, Clone)]
pub(crate) struct BpfToolchain {
    rustc: PathBuf,
    cargo: PathBuf,
    version: String,
    route: Route,
}

/// Where `core` comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    /// Ready in the compiler's sysroot.
    Prebuilt,
    /// Built from the sysroot's sources.
    BuildStd,
}

impl BpfToolchain {
    /// The best that this machine has: a ready `core` first, since that needs no nightly and no time.
    pub(crate) fn find() -> Option<Self> {
        let on_path = tool::find("rustc");
        let system = Some(PathBuf::from("/usr/bin/rustc"));
        let prebuilt = [on_path, system].into_iter().flatten().find_map(|rustc| {
            let cargo = rustc.with_file_name("cargo");
            Self::of(rustc, cargo, Route::Prebuilt)
        });
        prebuilt.or_else(|| {
            let which = |program| rustup_which(program).map(PathBuf::from);
            Self::of(which("rustc")?, which("cargo")?, Route::BuildStd)
        })
    }

    fn of(rustc: PathBuf, cargo: PathBuf, route: Route) -> Option<Self> {
        let sysroot = tool::capture(Command::new(&rustc).args(["--print", "sysroot"])).ok()?;
        let needed = Path::new(sysroot.trim()).join("lib/rustlib").join(match route {
            Route::Prebuilt => BPF_TARGET,
            Route::BuildStd => "src/rust/library",
        });
        let version = tool::capture(Command::new(&rustc).arg("--version"))
            .ok()?
            .trim()
            .to_owned();
        (needed.exists() && cargo.exists()).then_some(Self {
            rustc,
            cargo,
            version,
            route,
        })
    }

    /// Cargo with this compiler, told to run `subcommand` for the BPF target.
    ///
    /// `RUSTC_BOOTSTRAP` opens the unstable features that aya-ebpf needs, on a stable compiler.
    pub(crate) fn cargo(&self, subcommand: &str) -> Command {
        // Called by its own path: cargo would look for its subcommand in the user's directory first, and a clippy of
        // another release than this compiler refuses its artifacts.
        let program = if subcommand == "clippy" {
            self.cargo.with_file_name("cargo-clippy")
        } else {
            self.cargo.clone()
        };
        let mut command = Command::new(program);
        command.arg(subcommand).args(["--target", BPF_TARGET]);
        if self.route == Route::BuildStd {
            command.args(["-Z", "build-std=core"]);
        }
        // The cargo that runs xtask hands its own toolchain down.
        command.env_remove("RUSTUP_TOOLCHAIN").env_remove("RUSTC_WRAPPER");
        command
            .env("CARGO", &self.cargo)
            .env("RUSTC", &self.rustc)
            .env("RUSTC_BOOTSTRAP", "1");
        command
    }
}

impl fmt::Display for BpfToolchain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let route = match self.route {
            Route::Prebuilt => "its core for BPF is prebuilt",
            Route::BuildStd => "core for BPF is built from rust-src",
        };
        write!(formatter, "{} at {}; {route}", self.version, self.rustc.display())
    }
}

/// What to do when there is none and none could be installed.
pub(crate) fn not_found() -> anyhow::Error {
    NotReady {
        missing: format!("no Rust compiler here can build for {BPF_TARGET}"),
        remedy: "Either install Debian's: apt-get install rustc-web cargo-web libstd-rust-web-dev-bpf rust-web-clippy\n\
                 or a rustup nightly with its sources: rustup toolchain install nightly --component rust-src"
            .to_owned(),
    }
    .into()
}

fn rustup_which(program: &str) -> Option<String> {
    let path =
        tool::capture(Command::new("rustup").args(["which", "--toolchain", "nightly", program])).ok()?;
    Some(path.trim().to_owned())
}
