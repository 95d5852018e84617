//! Builds of KVM that no package has: `kvm.ko` from the sources of a cached kernel with a patch of ours, built once and kept.
//!
//! This file owns which builds there are and the way to one that is ready. Which packages it is made of is [`source`]'s,
//! making it [`tree`]'s, with the kernel's types from [`vmlinux`]; what is kept on disk is [`store`]'s. Nothing is installed
//! into the machine.

mod source;
mod store;
mod tree;
mod vmlinux;

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use lab_protocol::KvmBuild;

use super::{
    archive::{Archive, Mirrors},
    cache::Kernel,
    series::Series,
};
use crate::{progress, setup};

/// How a build is made.
#[derive(Debug)]
struct Recipe {
    build: KvmBuild,
    /// The kernel whose KVM it changes.
    series: Series,
    /// What it changes, as `patch -p1` takes it.
    patch: &'static str,
}

const RECIPES: &[Recipe] = &[Recipe {
    build: KvmBuild::KeepDisabled,
    series: Series::V6_1,
    patch: include_str!("../../../kernels/keep-disabled.patch"),
}];

/// The builds that are made from the kernels of `series`.
pub(super) fn of_series(series: Series) -> impl Iterator<Item = KvmBuild> {
    RECIPES
        .iter()
        .filter(move |recipe| recipe.series == series)
        .map(|recipe| recipe.build)
}

/// `kernel` with that KVM in the place of its own, from the cache below `root` if it is whole there, else built.
pub(super) fn fit(root: &Path, kernel: Kernel, build: KvmBuild, mirrors: &Mirrors) -> Result<Kernel> {
    if build == KvmBuild::Stock {
        return Ok(kernel);
    }
    let recipe = RECIPES
        .iter()
        .find(|recipe| recipe.build == build)
        .with_context(|| format!("no recipe says how to build KVM {build}"))?;
    ensure!(
        kernel.series() == recipe.series,
        "KVM {build} is built from kernel {0} alone; boot it with --kernel {0}",
        recipe.series
    );
    let module = match store::load(root, recipe, &kernel) {
        Ok(module) => module,
        Err(reason) => {
            progress::note(format_args!("KVM {build}: {reason}; it will be built"));
            make(root, recipe, &kernel, mirrors)?;
            store::load(root, recipe, &kernel).with_context(|| format!("KVM {build} is not usable"))?
        }
    };
    kernel.with_kvm(build, module)
}

fn make(root: &Path, recipe: &Recipe, kernel: &Kernel, mirrors: &Mirrors) -> Result<()> {
    setup::kvm_build()?;
    let name = format!("KVM {}", recipe.build);
    let step = progress::step(
        &name,
        "Debian's package lists and the sources of the kernel, 150 MB",
    );
    let archive = Archive::open(root, &[recipe.series], mirrors)?;
    let sources = source::of(&archive, kernel)?;
    let scratch = tempfile::tempdir_in(root).context("cannot make a directory in the kernel cache")?;
    let packages = archive.download(&sources, scratch.path())?;
    step.done("downloaded and verified by apt");
    let step = progress::step(&name, "tar, make and pahole: one to two minutes");
    let module = tree::build(recipe, kernel, &packages, scratch.path())?;
    store::store(root, recipe, kernel, &module)?;
    step.done("in the cache");
    Ok(())
}
