//! Chooses the newest kernel package of a series from the archive's lists.
//!
//! Knows Debian's package names: `linux-image-ABI-amd64`, which up to 6.x holds kernel and modules and from 7.x on only
//! depends on `linux-binary-ABI-amd64`, `linux-modules-ABI-amd64` and `linux-base-ABI-amd64`. Version order is dpkg's.

use std::process::Command;

use anyhow::{Context as _, Result};

use super::{archive::Archive, release::Release, series::Series};
use crate::tool;

/// The newest kernel of `series` in the archive.
pub(crate) fn newest(archive: &Archive, series: Series) -> Result<Release> {
    let names = tool::capture(archive.command("apt-cache").args(["pkgnames", "linux-image-"]))?;
    let candidates: Vec<&str> = names.lines().filter(|name| is_of_series(name, series)).collect();
    let lacking = || {
        format!(
            "Debian's archive offers no kernel {series} in {}; see whether the mirror still carries these suites",
            series.suites().join(", ")
        )
    };
    if candidates.is_empty() {
        anyhow::bail!(lacking());
    }
    let shown = tool::capture(
        archive
            .command("apt-cache")
            .args(["show", "--no-all-versions"])
            .args(&candidates),
    )?;
    let mut best: Option<Stanza<'_>> = None;
    for stanza in shown.split("\n\n").filter_map(Stanza::of) {
        if match &best {
            Some(best) => is_newer(stanza.version, best.version)?,
            None => true,
        } {
            best = Some(stanza);
        }
    }
    let best = best.with_context(lacking)?;
    let listed = tool::capture(archive.command("apt-cache").args(["madison", best.package]))?;
    let mut packages = best.holders();
    // `linux-base-ABI` holds the list of built-in modules from 7.x on and nothing that is needed before; the
    // archive drops the older ones while it still carries their kernels.
    for base in packages
        .extract_if(.., |name| name.starts_with("linux-base-"))
        .collect::<Vec<_>>()
    {
        let offered = tool::capture(archive.command("apt-cache").args(["madison", &base]))?;
        if offered.contains(best.version) {
            packages.push(base);
        }
    }
    Ok(Release {
        packages,
        version: best.version.to_owned(),
        suite: suite_of(&listed).unwrap_or("an unnamed suite").to_owned(),
    })
}

/// Whether `name` is the plain, signed kernel of `series`: no cloud or real-time flavour, nothing unsigned.
fn is_of_series(name: &str, series: Series) -> bool {
    let abi = name
        .strip_prefix("linux-image-")
        .and_then(|rest| rest.strip_suffix("-amd64"));
    let patch = abi
        .and_then(|abi| abi.strip_prefix(series.name()))
        .and_then(|rest| rest.strip_prefix('.'));
    patch.is_some_and(|patch| {
        patch.starts_with(|first: char| first.is_ascii_digit())
            && !patch.ends_with("-cloud")
            && !patch.ends_with("-rt")
    })
}

/// What a stanza of `apt-cache show` tells of a package.
#[derive(Debug, Clone, Copy)]
struct Stanza<'text> {
    package: &'text str,
    version: &'text str,
    depends: &'text str,
}

impl<'text> Stanza<'text> {
    fn of(text: &'text str) -> Option<Self> {
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        Some(Self {
            package: field("Package")?,
            version: field("Version")?,
            depends: field("Depends").unwrap_or(""),
        })
    }

    /// The packages that may hold files of the kernel: itself, and those of its very ABI that it depends on.
    fn holders(&self) -> Vec<String> {
        let abi = self.package.trim_start_matches("linux-image-");
        let dependencies = self
            .depends
            .split(", ")
            .filter_map(|dependency| dependency.split(' ').next());
        let parts = dependencies.filter(|name| name.starts_with("linux-") && name.ends_with(abi));
        std::iter::once(self.package)
            .chain(parts)
            .map(str::to_owned)
            .collect()
    }
}

/// The suite in a line of `apt-cache madison`: `PACKAGE | VERSION | URI SUITE/COMPONENT ARCHITECTURE Packages`.
fn suite_of(madison: &str) -> Option<&str> {
    let place = madison.lines().next()?.rsplit('|').next()?;
    place.split_whitespace().nth(1)?.split('/').next()
}

fn is_newer(version: &str, than: &str) -> Result<bool> {
    let status = Command::new("dpkg")
        .args(["--compare-versions", version, "gt", than])
        .status()
        .context("cannot run dpkg to compare versions")?;
    Ok(status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flavours_and_longer_series_are_not_the_series() {
        assert!(is_of_series("linux-image-6.1.0-56-amd64", Series::V6_1));
        assert!(is_of_series("linux-image-6.12.117+deb12-amd64", Series::V6_12));
        for other in [
            "linux-image-6.12.117+deb12-amd64",
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.1.0-56-rt-amd64",
            "linux-image-6.1.0-56-amd64-unsigned",
            "linux-image-6.1-amd64",
            "linux-image-amd64",
        ] {
            assert!(!is_of_series(other, Series::V6_1), "{other}");
        }
    }

    #[test]
    fn a_split_package_is_followed_to_its_parts() {
        let text = "Package: linux-image-7.3.4+deb13-amd64\nVersion: 7.3.4-1~bpo13+1\nDepends: kmod, \
                    linux-binary-7.3.4+deb13-amd64 (= 7.3.4-1~bpo13+1), linux-modules-7.3.4+deb13-amd64 (= 7.3.4-1~bpo13+1)";
        let stanza = Stanza::of(text).unwrap();
        let names = ["image", "binary", "modules"].map(|part| format!("linux-{part}-7.3.4+deb13-amd64"));
        assert_eq!(stanza.holders(), names);
        let text = "Package: linux-image-6.18.15+deb13-amd64\nVersion: 6.18.15-1~bpo13+1\nDepends: kmod, \
                    linux-base-6.18.15+deb13-amd64 (= 6.18.15-1~bpo13+1)";
        let names = ["image", "base"].map(|part| format!("linux-{part}-6.18.15+deb13-amd64"));
        assert_eq!(Stanza::of(text).unwrap().holders(), names);
        let text =
            "Package: linux-image-6.1.0-56-amd64\nVersion: 6.1.192-2\nDepends: kmod, linux-base (>= 4.3~)";
        let whole = Stanza::of(text).unwrap();
        assert_eq!(whole.holders(), ["linux-image-6.1.0-56-amd64"]);
    }

    #[test]
    fn the_suite_is_read_from_madison() {
        let line = "linux-image-a | 6.1.192-2 | http://a.test/debian-security bookworm-security/main amd64 Packages\n";
        assert_eq!(suite_of(line), Some("bookworm-security"));
    }
}
