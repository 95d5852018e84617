//! The matrix of stock Debian kernels that ldrscope is tried on, fetched once and kept in the user's cache.
//!
//! This file owns the matrix and the way from a [`Series`] to a ready [`Kernel`]. Asking Debian's archive is
//! [`archive`]'s, choosing and reading packages [`package`]'s, taking out of them what the lab boots [`unpack`]'s,
//! what is kept on disk [`cache`]'s, and a KVM other than the kernel's own [`kvm_build`]'s.

mod archive;
mod cache;
mod kvm_build;
mod package;
mod release;
mod series;
mod unpack;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use lab_protocol::KvmBuild;

pub(crate) use self::{
    archive::Mirrors,
    cache::Kernel,
    series::{MATRIX, Series},
};
use crate::{paths, progress, setup};

/// `cargo xtask kernels`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Series to fetch, such as 6.1; all of the matrix by default
    series: Vec<Series>,
    /// Look for newer kernels though the cache is whole
    #[arg(long)]
    refresh: bool,
    #[command(flatten)]
    mirrors: Mirrors,
}

/// Fetches what is asked for, builds what is made from it, and says what is there.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let wanted: &[Series] = if arguments.series.is_empty() {
        &MATRIX
    } else {
        &arguments.series
    };
    let root = root()?;
    for kernel in obtain(&root, wanted, arguments.refresh, &arguments.mirrors)? {
        progress::note(format_args!("kernel {kernel}"));
        for build in kvm_build::of_series(kernel.series()) {
            let fitted = kvm_build::fit(&root, kernel.clone(), build, &arguments.mirrors)?;
            progress::note(format_args!("kernel {fitted}"));
        }
    }
    Ok(())
}

/// The kernel of `series`, from the cache if it is whole there, else from Debian's archive.
pub(crate) fn ensure(series: Series) -> Result<Kernel> {
    let mut kernels = obtain(&root()?, &[series], false, &Mirrors::default())?;
    kernels.pop().context("one series yields one kernel")
}

/// `kernel` with this build of KVM: its own, one from the cache, or one that is built now.
pub(crate) fn with_kvm(kernel: Kernel, build: KvmBuild) -> Result<Kernel> {
    kvm_build::fit(&root()?, kernel, build, &Mirrors::default())
}

fn root() -> Result<PathBuf> {
    Ok(paths::cache()?.join("kernels"))
}

/// The kernels of `wanted`, in that order; asks the archive once for all that the cache lacks.
fn obtain(root: &Path, wanted: &[Series], refresh: bool, mirrors: &Mirrors) -> Result<Vec<Kernel>> {
    let mut found = Vec::new();
    for &series in wanted {
        found.push((series, cache::load(root, series)));
    }
    let mut missing = Vec::new();
    for (series, kernel) in &found {
        if let Err(reason) = kernel {
            progress::note(format_args!("kernel {series}: {reason}; it will be fetched"));
        }
        if kernel.is_err() || refresh {
            missing.push(*series);
        }
    }
    if !missing.is_empty() {
        fetch(root, &missing, mirrors)?;
    }
    let ready = found.into_iter().map(|(series, kernel)| match kernel {
        Ok(kernel) if !refresh => Ok(kernel),
        _ => cache::load(root, series).with_context(|| format!("kernel {series} is not usable")),
    });
    ready.collect()
}

fn fetch(root: &Path, missing: &[Series], mirrors: &Mirrors) -> Result<()> {
    setup::kernels()?;
    let step = progress::step(
        "kernels: package lists",
        "Debian's archive (apt-get update on a list of its own)",
    );
    let archive = archive::Archive::open(root, missing, mirrors)?;
    step.done("read");
    for &series in missing {
        let release = package::newest(&archive, series)?;
        if let Ok(kernel) = cache::load(root, series)
            && kernel.version() == release.version
        {
            progress::note(format_args!(
                "kernel {series}: {} is still the newest",
                release.version
            ));
            continue;
        }
        let name = format!("kernel {series}");
        let step = progress::step(&name, format_args!("{release}"));
        let scratch = tempfile::tempdir_in(root).context("cannot make a directory in the kernel cache")?;
        let packages = archive.download(&release, scratch.path())?;
        step.done("downloaded and verified by apt");
        let step = progress::step(&name, "dpkg -x, depmod and the decompression of its modules");
        let kept = unpack::unpack(&packages, scratch.path())?;
        cache::store(root, series, &release, &kept)?;
        step.done("in the cache");
    }
    Ok(())
}
