//! The packages that a kernel's KVM is built from: its headers, the tools that go with them, and its source.

use anyhow::{Context as _, Result, ensure};

use crate::{
    kernels::{archive::Archive, cache::Kernel, release::Release},
    tool,
};

/// The packages of exactly the version of `kernel`, if the archive has them all.
pub(super) fn of(archive: &Archive, kernel: &Kernel) -> Result<Release> {
    let packages = names(kernel.release(), kernel.series().name())?;
    for package in &packages {
        let listed = tool::capture(archive.command("apt-cache").args(["madison", package]))?;
        let offered = versions_of(&listed);
        ensure!(
            offered.contains(&kernel.version()),
            "Debian's archive has {package} in {}, but kernel {series} in the cache is {}, and KVM must be built from its \
             very version. `cargo xtask kernels {series} --refresh` fetches the newest kernel; if it is that already, the \
             archive is not in step yet: try again in a few hours",
            match offered.as_slice() {
                [] => "no version".to_owned(),
                offered => offered.join(", "),
            },
            kernel.version(),
            series = kernel.series(),
        );
    }
    Ok(Release {
        packages,
        version: kernel.version().to_owned(),
        suite: kernel.suite().to_owned(),
    })
}

/// Debian's names for them, by `uname -r` and series.
fn names(release: &str, series: &str) -> Result<Vec<String>> {
    let abi = release
        .strip_suffix("-amd64")
        .with_context(|| format!("{release} is no plain Debian kernel for amd64"))?;
    Ok(vec![
        format!("linux-headers-{release}"),
        format!("linux-headers-{abi}-common"),
        format!("linux-kbuild-{series}"),
        format!("linux-source-{series}"),
    ])
}

/// The versions in the lines of `apt-cache madison`: `PACKAGE | VERSION | SOURCE`.
fn versions_of(madison: &str) -> Vec<&str> {
    madison
        .lines()
        .filter_map(|line| line.split('|').nth(1))
        .map(str::trim)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernels_packages_are_named_after_it() {
        assert_eq!(
            names("6.1.0-56-amd64", "6.1").unwrap(),
            [
                "linux-headers-6.1.0-56-amd64",
                "linux-headers-6.1.0-56-common",
                "linux-kbuild-6.1",
                "linux-source-6.1"
            ]
        );
        assert!(names("6.1.0-56-arm64", "6.1").is_err());
    }

    #[test]
    fn only_whole_versions_are_read() {
        let madison = "linux-kbuild-6.1 |  6.1.192-2 | http://a.test bookworm-security/main amd64 Packages\n\
                       linux-kbuild-6.1 |  6.1.176-1 | http://a.test bookworm/main amd64 Packages\n";
        assert_eq!(versions_of(madison), ["6.1.192-2", "6.1.176-1"]);
        assert!(versions_of("").is_empty());
    }
}
