//! Chooses the Rust compiler for the eBPF object: one with a ready `core` for BPF, else a nightly that can build it.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
};

use super::{NotReady, linker};
use crate::tool;

/// The target of the eBPF object.
pub(crate) const BPF_TARGET: &str = "bpfel-unknown-none";

/// A compiler that can build for [`BPF_TARGET`].
#[derive(Debug, Clone)]
pub(crate) struct BpfToolchain {
    rustc: PathBuf,
    cargo: PathBuf,
    version: String,
    /// Major version of its LLVM, if it tells.
    llvm: Option<u32>,
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
    pub(crate) fn find() -> Result<Self, NoToolchain> {
        let mut too_new = None;
        let found = Self::candidates().find(|toolchain| {
            let suits = toolchain.llvm.is_none_or(|llvm| llvm <= linker::LLVM);
            if !suits {
                too_new.get_or_insert_with(|| toolchain.clone());
            }
            suits
        });
        found.ok_or(NoToolchain { too_new })
    }

    /// Every one that has a `core` for BPF, the best first.
    fn candidates() -> impl Iterator<Item = Self> {
        let on_path = tool::find("rustc");
        let system = Some(PathBuf::from("/usr/bin/rustc"));
        let prebuilt = [on_path, system].into_iter().flatten().filter_map(|rustc| {
            let cargo = rustc.with_file_name("cargo");
            Self::of(rustc, cargo, Route::Prebuilt)
        });
        let nightly = || {
            let which = |program| rustup_which(program).map(PathBuf::from);
            Self::of(which("rustc")?, which("cargo")?, Route::BuildStd)
        };
        prebuilt.chain(std::iter::once_with(nightly).flatten())
    }

    fn of(rustc: PathBuf, cargo: PathBuf, route: Route) -> Option<Self> {
        let sysroot = tool::capture(Command::new(&rustc).args(["--print", "sysroot"])).ok()?;
        let needed = Path::new(sysroot.trim()).join("lib/rustlib").join(match route {
            Route::Prebuilt => BPF_TARGET,
            Route::BuildStd => "src/rust/library",
        });
        let said = tool::capture(Command::new(&rustc).arg("-vV")).ok()?;
        let version = said.lines().next()?.to_owned();
        (needed.exists() && cargo.exists()).then_some(Self {
            rustc,
            cargo,
            version,
            llvm: llvm_of(&said),
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

/// No compiler here can make what bpf-linker links.
#[derive(Debug)]
pub(crate) struct NoToolchain {
    /// One that could but for its LLVM.
    too_new: Option<BpfToolchain>,
}

impl NoToolchain {
    /// What to do about it, when none could be installed either.
    pub(crate) fn not_ready(self) -> NotReady {
        let supported = linker::LLVM;
        let missing = match self.too_new {
            None => format!("no Rust compiler here can build for {BPF_TARGET}"),
            Some(BpfToolchain {
                version, rustc, llvm, ..
            }) => format!(
                "{version} at {} compiles by LLVM {}, newer than LLVM {supported} of bpf-linker, which cannot read \
                 its bitcode",
                rustc.display(),
                llvm.unwrap_or_default()
            ),
        };
        NotReady {
            missing,
            remedy: format!(
                "Either install Debian's: apt-get install rustc-web cargo-web libstd-rust-web-dev-bpf rust-web-clippy\n\
                 or a rustup nightly with its sources, one whose `rustc -vV` says LLVM {supported} or older: \
                 rustup toolchain install nightly --component rust-src,clippy"
            ),
        }
    }
}

/// The major version in the line `LLVM version: MAJOR.MINOR.PATCH` of `rustc -vV`.
fn llvm_of(said: &str) -> Option<u32> {
    let version = said
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "))?;
    version.split('.').next()?.parse().ok()
}

fn rustup_which(program: &str) -> Option<String> {
    let path =
        tool::capture(Command::new("rustup").args(["which", "--toolchain", "nightly", program])).ok()?;
    Some(path.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toolchain(llvm: u32) -> BpfToolchain {
        BpfToolchain {
            rustc: PathBuf::from("/opt/bin/rustc"),
            cargo: PathBuf::from("/opt/bin/cargo"),
            version: "rustc 1.99.0-nightly".to_owned(),
            llvm: Some(llvm),
            route: Route::BuildStd,
        }
    }

    #[test]
    fn the_llvm_of_a_compiler_is_read() {
        assert_eq!(llvm_of("rustc 1.95.0\nhost: x\nLLVM version: 22.1.4\n"), Some(22));
        assert_eq!(llvm_of("rustc 1.95.0\n"), None);
    }

    #[test]
    fn a_compiler_with_a_newer_llvm_is_refused_by_name() {
        let too_new = Some(toolchain(linker::LLVM + 1));
        let refusal = NoToolchain { too_new }.not_ready().to_string();
        assert!(
            refusal.starts_with("rustc 1.99.0-nightly at /opt/bin/rustc compiles by LLVM 23"),
            "{refusal}"
        );
        assert!(refusal.contains("--component rust-src,clippy"), "{refusal}");
        let nothing = NoToolchain { too_new: None }.not_ready().to_string();
        assert!(nothing.starts_with("no Rust compiler here"), "{nothing}");
    }
}
