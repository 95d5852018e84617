//! The `.deb`: an ar archive of two tar archives, as deb(5) has it, written without Debian's tools.
//!
//! What the maintainer scripts do is in `packaging/debian`; each says why.

use std::{fmt::Write as _, process::Command};

use anyhow::{Context as _, Result};

use super::{
    Content, Release,
    content::{File, Kind},
    gzip,
    place::Family,
    tarball::tar,
};
use crate::tool;

const MAINTAINER: &str = "ldrscope developers <ldrscope@packages.invalid>";

const DESCRIPTION: &str = "\
watches KVM's local-APIC destination maps on a running host
 ldrscope says which interrupts cannot arrive in the KVM guests of this host,
 why, since when, and who wrote the register. It needs no help from the guest,
 the VMM or debug info: eBPF programs at cold entry points of KVM note when a
 map is recalculated, and the maps are read and judged off the guests' path.
 .
 The daemon serves metrics for Prometheus and writes findings to the journal.
 It is neither enabled nor started by the installation:
 systemctl enable --now ldrscope";

/// The maintainer scripts.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// The package's name and bytes.
pub(super) fn write(release: &Release, content: &Content) -> Result<(String, Vec<u8>)> {
    let mut files = content.installed(Family::Debian)?;
    files.push(File {
        path: "usr/share/doc/ldrscope/changelog.gz".to_owned(),
        mode: 0o644,
        kind: Kind::Document,
        bytes: gzip::compress(changelog(release)?.as_bytes())?,
    });
    files.sort_by(|one, other| one.path.cmp(&other.path));

    let members = [
        ("debian-binary", b"2.0\n".to_vec()),
        (
            "control.tar.gz",
            gzip::compress(&tar(&control_files(release, content, &files)?, release.epoch)?)?,
        ),
        ("data.tar.gz", gzip::compress(&tar(&files, release.epoch)?)?),
    ];
    let mut archive = ar::Builder::new(Vec::new());
    for (name, bytes) in &members {
        let mut header = ar::Header::new(name.as_bytes().to_vec(), bytes.len() as u64);
        header.set_mtime(u64::from(release.epoch));
        header.set_mode(0o100_644);
        archive
            .append(&header, &bytes[..])
            .with_context(|| format!("cannot archive {name}"))?;
    }
    let bytes = archive.into_inner().context("cannot end the .deb")?;
    Ok((format!("ldrscope_{}_amd64.deb", release.version), bytes))
}

fn control_files(release: &Release, content: &Content, files: &[File]) -> Result<Vec<File>> {
    let file = |path: &str, mode: u32, bytes: Vec<u8>| File {
        path: path.to_owned(),
        mode,
        kind: Kind::Plain,
        bytes,
    };
    let conffiles: String = files
        .iter()
        .filter(|file| file.kind == Kind::Configuration)
        .map(|file| format!("/{}\n", file.path))
        .collect();
    let mut all = vec![
        file("conffiles", 0o644, conffiles.into_bytes()),
        file("control", 0o644, control(release, files).into_bytes()),
    ];
    for name in SCRIPTS {
        let script = content.source(&format!("packaging/debian/{name}"))?;
        all.push(file(name, 0o755, script.to_vec()));
    }
    all.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(all)
}

fn control(release: &Release, files: &[File]) -> String {
    let kibibytes: usize = files.iter().map(|file| file.bytes.len().div_ceil(1024)).sum();
    let mut text = String::new();
    for (field, value) in [
        ("Package", "ldrscope"),
        ("Version", &release.version),
        ("Architecture", "amd64"),
        ("Maintainer", MAINTAINER),
        ("Installed-Size", &kibibytes.to_string()),
        // For the daemon's user; init-system-helpers is essential.
        (
            "Depends",
            "systemd | systemd-standalone-sysusers | systemd-sysusers",
        ),
        ("Suggests", "logrotate, prometheus"),
        ("Section", "admin"),
        ("Priority", "optional"),
        ("Description", DESCRIPTION),
    ] {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{field}: {value}");
    }
    text
}

fn changelog(release: &Release) -> Result<String> {
    // RFC 5322, whatever the user's language.
    let date = tool::capture(
        Command::new("date")
            .env("LC_ALL", "C")
            .args(["--utc", "--rfc-email", "--date"])
            .arg(format!("@{}", release.epoch)),
    )?;
    Ok(format!(
        "ldrscope ({}) unstable; urgency=medium\n\n  * See the sources' history.\n\n -- {MAINTAINER}  {}\n",
        release.version,
        date.trim()
    ))
}
