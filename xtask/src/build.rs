//! Builds what the lab and the user run: the eBPF object, then the static binaries, `ldrscope` with the object inside.
//!
//! The object has a compiler and a target directory of its own, so that neither build invalidates the other's artifacts.

use std::{
    iter,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};

use crate::{paths, progress, remap, setup, setup::BpfToolchain, tool};

/// glibc rather than musl: rustup's stable has its std ready, and a static glibc binary runs on every host kernel.
pub(crate) const HOST_TARGET: &str = "x86_64-unknown-linux-gnu";

/// Where the object's bytes are when `probe-user` is compiled.
const OBJECT_VARIABLE: &str = "LDRSCOPE_EBPF_OBJECT";

/// How cargo takes flags whose parts may contain blanks.
const RUSTFLAGS: &str = "CARGO_ENCODED_RUSTFLAGS";
/// How cargo takes the linker of [`setup::BPF_TARGET`].
const BPF_LINKER: &str = "CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER";

/// `cargo xtask build`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Optimise the userspace binaries; the eBPF object always is
    #[arg(long)]
    release: bool,
}

/// Cargo's profile of the userspace binaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// For development.
    Dev,
    /// For use and for the lab, where everything is emulated.
    Release,
}

/// The static binaries of one build.
#[derive(Debug, Clone)]
pub(crate) struct Binaries {
    directory: PathBuf,
    /// The tool itself.
    pub(crate) ldrscope: PathBuf,
    /// The lab's PID 1.
    pub(crate) lab_init: PathBuf,
    /// The lab's guests and test cases.
    pub(crate) lab_case: PathBuf,
}

/// Builds everything and prints the path of `ldrscope`.
#[expect(clippy::print_stdout, reason = "the path is this command's result")]
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let binaries = build(if arguments.release {
        Profile::Release
    } else {
        Profile::Dev
    })?;
    println!("{}", binaries.ldrscope.display());
    Ok(())
}

/// Builds the object and the binaries.
pub(crate) fn build(profile: Profile) -> Result<Binaries> {
    let (toolchain, linker) = setup::build()?;
    let object = build_object(&toolchain, &linker)?;
    let step = progress::step("build", "cargo on the static binaries");
    let flags = iter::once("-Ctarget-feature=+crt-static".to_owned()).chain(remap::flags(&paths::target()));
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(paths::workspace())
        .args([
            "build",
            "--package",
            "probe-user",
            "--package",
            "lab",
            "--bins",
            "--target",
            HOST_TARGET,
            // Where the binaries are looked for below, whatever the user's configuration says.
            "--target-dir",
        ])
        .arg(paths::target())
        .args((profile == Profile::Release).then_some("--release"))
        .env(RUSTFLAGS, remap::encoded(flags))
        .env(OBJECT_VARIABLE, &object);
    tool::stream(&mut cargo)?;
    let binaries = Binaries::of_last_build(profile)?;
    for path in [&binaries.ldrscope, &binaries.lab_case] {
        ensure!(
            path.exists(),
            "cargo built no {}; is its [[bin]] entry gone?",
            path.display()
        );
    }
    step.done("built");
    Ok(binaries)
}

/// The command line that the object is compiled by, up to the cargo subcommand's own arguments.
///
/// The workspace's release profile is for userspace: of it, debug data must stay, since the object's BTF comes from it.
pub(crate) fn bpf_cargo(toolchain: &BpfToolchain, linker: &Path, subcommand: &str) -> Command {
    let flags = iter::once("-Clink-arg=--btf".to_owned()).chain(remap::flags(&bpf_target_directory()));
    let mut cargo = toolchain.cargo(subcommand);
    cargo
        .current_dir(paths::workspace())
        .args(["--package", "probe-ebpf", "--release", "--target-dir"])
        .arg(bpf_target_directory())
        // Not a flag: symbols are named after flags, and the linker's place is this machine's own.
        .env(BPF_LINKER, linker)
        .env(RUSTFLAGS, remap::encoded(flags))
        .env("CARGO_PROFILE_RELEASE_DEBUG", "2")
        .env("CARGO_PROFILE_RELEASE_STRIP", "none")
        .env("CARGO_PROFILE_RELEASE_LTO", "fat")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort");
    cargo
}

fn build_object(toolchain: &BpfToolchain, linker: &Path) -> Result<PathBuf> {
    let step = progress::step("build", format_args!("the eBPF object, by {toolchain}"));
    tool::stream(&mut bpf_cargo(toolchain, linker, "build"))?;
    let object = bpf_target_directory()
        .join(setup::BPF_TARGET)
        .join("release/ldrscope-ebpf");
    ensure!(
        object.exists(),
        "cargo built no {}; is the [[bin]] of probe-ebpf gone?",
        object.display()
    );
    step.done("built");
    Ok(object)
}

fn bpf_target_directory() -> PathBuf {
    paths::target().join("bpf")
}

impl Binaries {
    /// What the last build of `profile` left.
    ///
    /// # Errors
    /// When there was none: without `lab-init` there is no lab.
    pub(crate) fn of_last_build(profile: Profile) -> Result<Self> {
        let directory = paths::target().join(HOST_TARGET).join(match profile {
            Profile::Dev => "debug",
            Profile::Release => "release",
        });
        let at = |name| directory.join(name);
        let (ldrscope, lab_init, lab_case) = (at("ldrscope"), at("lab-init"), at("lab-case"));
        ensure!(
            lab_init.exists(),
            "{} is missing; run `cargo xtask build --release`",
            lab_init.display()
        );
        Ok(Self {
            ldrscope,
            lab_init,
            lab_case,
            directory,
        })
    }

    /// The directory that holds them.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// What goes on the lab's PATH, as far as it has been built.
    pub(crate) fn for_the_lab(&self) -> impl Iterator<Item = &Path> {
        [&self.ldrscope, &self.lab_case]
            .into_iter()
            .map(PathBuf::as_path)
            .filter(|path| path.exists())
    }
}
