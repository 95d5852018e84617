//! The `.rpm`. What its scripts do is in `packaging/rpm`.

use anyhow::{Context as _, Result};
use rpm::{BuildConfig, CompressionWithLevel, Dependency, FileOptions, PackageBuilder, Scriptlet};

use super::{Content, Release, content::Kind, place::Family, tarball::directories};

const LICENCE: &str = "MIT OR Apache-2.0";
const ARCHITECTURE: &str = "x86_64";
const SUMMARY: &str = "Watches KVM's local-APIC destination maps on a running host";
const DESCRIPTION: &str = "\
ldrscope says which interrupts cannot arrive in the KVM guests of this host, why, since when, and who wrote the
register. It needs no help from the guest, the VMM or debug info. The daemon serves metrics for Prometheus and writes
findings to the journal.";
/// Of this version: there is no other.
const RELEASE: &str = "1";
const DIRECTORY: u16 = 0o755;
/// gzip's: every rpm reads it.
const BEST: u32 = 9;

/// The package's name and bytes.
pub(super) fn write(release: &Release, content: &Content) -> Result<(String, Vec<u8>)> {
    let script = |name: &str| -> Result<Scriptlet> {
        let bytes = content.source(&format!("packaging/rpm/{name}"))?;
        let text =
            std::str::from_utf8(bytes).with_context(|| format!("packaging/rpm/{name} is not UTF-8"))?;
        Ok(Scriptlet::new(text).prog(vec!["/bin/sh"]))
    };
    let mut builder = PackageBuilder::new("ldrscope", &release.version, LICENCE, ARCHITECTURE, SUMMARY);
    builder
        .using_config(
            BuildConfig::v4()
                .source_date(release.epoch)
                .compression(CompressionWithLevel::Gzip(BEST)),
        )
        .release(RELEASE)
        .description(DESCRIPTION)
        .post_install_script(script("post")?)
        .pre_uninstall_script(script("preun")?)
        .post_uninstall_script(script("postun")?)
        .requires(Dependency::any("systemd"))
        .requires(Dependency::script_post("/usr/bin/systemd-sysusers"));
    let files = content.installed(Family::Rpm)?;
    // Those of its own: the others are the system's.
    for directory in directories(&files)
        .iter()
        .filter(|path| path.contains("/ldrscope/"))
    {
        let path = format!("/{}", directory.trim_end_matches('/'));
        builder
            .with_dir_entry(FileOptions::dir(path).permissions(DIRECTORY))
            .with_context(|| format!("cannot package {directory}"))?;
    }
    for file in files {
        let mode = u16::try_from(file.mode).context("permissions beyond 16 bits")?;
        let options = FileOptions::new(format!("/{}", file.path)).permissions(mode);
        let options = match file.kind {
            Kind::Plain => options,
            Kind::Configuration => options.config().noreplace(),
            Kind::Document => options.doc(),
            Kind::Licence => options.license(),
        };
        builder
            .with_file_contents(file.bytes, options)
            .with_context(|| format!("cannot package {}", file.path))?;
    }
    let package = builder.build().context("cannot build the .rpm")?;
    let mut bytes = Vec::new();
    package.write(&mut bytes).context("cannot write the .rpm")?;
    Ok((
        format!("ldrscope-{}-{RELEASE}.{ARCHITECTURE}.rpm", release.version),
        bytes,
    ))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_package_reads_back_whole_with_the_configuration_marked() {
        let release = Release {
            version: "1.2.3".to_owned(),
            epoch: 1_700_000_000,
        };
        let (name, bytes) = write(&release, &crate::dist::content::tests::content()).unwrap();
        assert_eq!(name, "ldrscope-1.2.3-1.x86_64.rpm");
        let package = rpm::Package::parse(&mut &bytes[..]).unwrap();
        package.verify_digests().unwrap();
        let entries = package.metadata.get_file_entries().unwrap();
        let entry = |path: &str| {
            entries
                .iter()
                .find(|entry| entry.path() == Path::new(path))
                .unwrap()
        };
        assert!(
            entry("/etc/ldrscope/ldrscope.toml")
                .flags()
                .contains(rpm::FileFlags::CONFIG)
        );
        assert_eq!(entry("/usr/bin/ldrscope").user(), "root");
        assert_eq!(
            entry("/usr/share/ldrscope/grafana").mode().permissions(),
            DIRECTORY
        );
        assert!(entries.iter().all(|entry| entry.path() != Path::new("/usr/bin")));
    }
}
