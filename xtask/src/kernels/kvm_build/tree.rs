//! Makes a `kvm.ko`: lays KVM's sources beside the kernel's headers, patches them, and has the kernel's own makefiles build
//! the module with its BTF, all in a scratch directory.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context as _, Result, ensure};

use super::{Recipe, vmlinux};
use crate::{kernels::cache::Kernel, tool};

/// Where KVM is in the kernel's tree.
const KVM: &str = "arch/x86/kvm";

/// The module by `recipe` for `kernel`, built below `scratch` from `packages`.
pub(super) fn build(
    recipe: &Recipe,
    kernel: &Kernel,
    packages: &[PathBuf],
    scratch: &Path,
) -> Result<PathBuf> {
    let root = scratch.join("unpacked");
    for package in packages {
        tool::quiet(Command::new("dpkg").arg("-x").arg(package).arg(&root))?;
    }
    let sources = root.join("usr/src");
    let release = kernel.release();
    let headers = sources.join(format!("linux-headers-{release}"));
    let common = sources.join(format!(
        "linux-headers-{}-common",
        release.trim_end_matches("-amd64")
    ));
    let tarball = format!("linux-source-{}", kernel.series());
    tool::quiet(
        Command::new("tar")
            .args(["--extract", "--xz", "--strip-components=1", "--directory"])
            .arg(&common)
            .arg("--file")
            .arg(sources.join(format!("{tarball}.tar.xz")))
            .args([format!("{tarball}/{KVM}"), format!("{tarball}/virt")]),
    )?;
    patch(recipe, scratch, &common)?;

    // Its one line includes the common makefile where the package would have installed it.
    fs::write(
        headers.join("Makefile"),
        format!("include {}/Makefile\n", common.display()),
    )
    .context("cannot write the headers' makefile")?;
    // Where the makefiles find a vmlinux they give the module BTF upon its types.
    let image = fs::read(kernel.image()).context("cannot read the kernel's image")?;
    fs::write(headers.join("vmlinux"), vmlinux::unpack(&image)?).context("cannot write the kernel proper")?;
    let directory = common.join(KVM);
    tool::quiet(&mut make(&headers, &directory))?;

    let built = directory.join("kvm.ko");
    let module = scratch.join("kvm.ko");
    tool::quiet(
        Command::new("strip")
            .args(["--strip-debug", "-o"])
            .arg(&module)
            .arg(&built),
    )?;
    let sections = tool::capture(
        Command::new("readelf")
            .args(["--sections", "--wide"])
            .arg(&module),
    )?;
    ensure!(
        sections.split_whitespace().any(|word| word == ".BTF"),
        "the built kvm.ko carries no BTF; see whether pahole (package dwarves) works"
    );
    Ok(module)
}

/// Applies the recipe's patch to `tree`; a single line of context that differs fails it.
fn patch(recipe: &Recipe, scratch: &Path, tree: &Path) -> Result<()> {
    let file = scratch.join("kvm.patch");
    fs::write(&file, recipe.patch).context("cannot write the patch")?;
    let mut patch = Command::new("patch");
    patch
        .args(["--strip=1", "--fuzz=0", "--batch", "--forward", "--input"])
        .arg(&file)
        .arg("--directory")
        .arg(tree);
    tool::quiet(&mut patch).with_context(|| {
        format!(
            "the patch of KVM {} does not fit kernel {} any more; bring xtask/kernels/{0}.patch up to date",
            recipe.build, recipe.series
        )
    })
}

/// The kernel's makefiles on KVM's directory; of its modules only `kvm.ko`, for the kernel's own kvm-amd goes with it.
fn make(headers: &Path, directory: &Path) -> Command {
    let jobs = thread::available_parallelism().map_or(1, usize::from);
    let mut make = Command::new("make");
    make.arg("-C")
        .arg(headers)
        .arg(format!("M={}", directory.display()))
        .arg(format!("-j{jobs}"))
        .args(["CONFIG_KVM_AMD=n", "CONFIG_KVM_INTEL=n"])
        // It fills in sets of type ids that kernel functions open to BPF need. KVM has none, and no package the program.
        .arg("RESOLVE_BTFIDS=true")
        .arg("modules")
        .env_remove("MAKEFLAGS")
        .env_remove("ARCH")
        .env_remove("CROSS_COMPILE")
        .env("LC_ALL", "C");
    make
}
