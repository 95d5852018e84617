//! Where the parts of a release go: in the tarball's tree, and on a host by a package of either family.

use anyhow::Result;

use super::{
    content::{Content, File, Kind, Shell},
    gzip,
};

const EXECUTABLE: u32 = 0o755;
const PLAIN: u32 = 0o644;

/// Which packages' customs the installed tree follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// `.deb`.
    Debian,
    /// `.rpm`.
    Rpm,
}

/// Files of the sources that go to a place of the host's own: from, to, kind.
const PLACED: &[(&str, &str, Kind)] = &[
    (
        "packaging/ldrscope.toml",
        "etc/ldrscope/ldrscope.toml",
        Kind::Configuration,
    ),
    (
        "packaging/ldrscope.logrotate",
        "etc/logrotate.d/ldrscope",
        Kind::Configuration,
    ),
    (
        "packaging/ldrscope.service",
        "usr/lib/systemd/system/ldrscope.service",
        Kind::Plain,
    ),
    (
        "packaging/ldrscope.sysusers",
        "usr/lib/sysusers.d/ldrscope.conf",
        Kind::Plain,
    ),
    ("README.md", "usr/share/doc/ldrscope/README.md", Kind::Document),
    (
        "docs/runbook.md",
        "usr/share/doc/ldrscope/runbook.md",
        Kind::Document,
    ),
    (
        "docs/kubernetes.md",
        "usr/share/doc/ldrscope/kubernetes.md",
        Kind::Document,
    ),
];

/// Directories of the sources that go whole: from, to.
const PLACED_TREES: &[(&str, &str)] = &[
    ("packaging/prometheus/", "usr/share/ldrscope/prometheus/"),
    ("packaging/grafana/", "usr/share/ldrscope/grafana/"),
    ("packaging/kubernetes/", "usr/share/ldrscope/kubernetes/"),
    ("packaging/nagios/", "usr/share/ldrscope/nagios/"),
    ("docs/schema/", "usr/share/ldrscope/schema/"),
];

impl Content {
    /// The tarball's tree, sorted by path.
    pub(super) fn tree(&self) -> Vec<File> {
        let mut files = vec![
            file("bin/ldrscope", EXECUTABLE, Kind::Plain, &self.binary),
            file(
                "THIRD-PARTY.txt",
                PLAIN,
                Kind::Licence,
                self.third_party.as_bytes(),
            ),
        ];
        files.extend(
            self.pages
                .iter()
                .map(|(name, page)| file(&format!("man/man1/{name}"), PLAIN, Kind::Document, page)),
        );
        files.extend(self.completions.iter().map(|(shell, script)| {
            file(
                &format!("completions/{}", shell.file_name()),
                PLAIN,
                Kind::Plain,
                script,
            )
        }));
        files.extend(
            self.sources
                .iter()
                .map(|(path, bytes)| file(path, PLAIN, Kind::Plain, bytes)),
        );
        sorted(files)
    }

    /// What a package puts on a host, sorted by path.
    pub(super) fn installed(&self, family: Family) -> Result<Vec<File>> {
        let mut files = vec![file("usr/bin/ldrscope", EXECUTABLE, Kind::Plain, &self.binary)];
        for (name, page) in &self.pages {
            let path = format!("usr/share/man/man1/{name}.gz");
            files.push(file(&path, PLAIN, Kind::Document, &gzip::compress(page)?));
        }
        for (shell, script) in &self.completions {
            let path = format!("{}/{}", shell.directory(family), shell.file_name());
            files.push(file(&path, PLAIN, Kind::Plain, script));
        }
        for &(from, to, kind) in PLACED {
            files.push(file(to, PLAIN, kind, self.source(from)?));
        }
        for (from, to) in PLACED_TREES {
            for (path, bytes) in &self.sources {
                if let Some(inner) = path.strip_prefix(from) {
                    files.push(file(&format!("{to}{inner}"), PLAIN, Kind::Plain, bytes));
                }
            }
        }
        let third_party = self.third_party.as_bytes();
        match family {
            Family::Debian => {
                let path = "usr/share/doc/ldrscope/THIRD-PARTY.txt.gz";
                files.push(file(path, PLAIN, Kind::Document, &gzip::compress(third_party)?));
                let copyright = self.source("packaging/debian/copyright")?;
                files.push(file(
                    "usr/share/doc/ldrscope/copyright",
                    PLAIN,
                    Kind::Licence,
                    copyright,
                ));
                let overrides = self.source("packaging/debian/lintian-overrides")?;
                files.push(file(
                    "usr/share/lintian/overrides/ldrscope",
                    PLAIN,
                    Kind::Plain,
                    overrides,
                ));
            }
            Family::Rpm => {
                let directory = "usr/share/licenses/ldrscope";
                files.push(file(
                    &format!("{directory}/THIRD-PARTY.txt"),
                    PLAIN,
                    Kind::Licence,
                    third_party,
                ));
                for name in ["LICENSE-APACHE", "LICENSE-MIT"] {
                    let path = format!("{directory}/{name}");
                    files.push(file(&path, PLAIN, Kind::Licence, self.source(name)?));
                }
            }
        }
        Ok(sorted(files))
    }
}

impl Shell {
    /// Where the shell looks for it.
    const fn directory(self, family: Family) -> &'static str {
        match (self, family) {
            (Self::Bash, _) => "usr/share/bash-completion/completions",
            (Self::Zsh, Family::Debian) => "usr/share/zsh/vendor-completions",
            (Self::Zsh, Family::Rpm) => "usr/share/zsh/site-functions",
            (Self::Fish, _) => "usr/share/fish/vendor_completions.d",
        }
    }
}

fn file(path: &str, mode: u32, kind: Kind, bytes: &[u8]) -> File {
    File {
        path: path.to_owned(),
        mode,
        kind,
        bytes: bytes.to_vec(),
    }
}

fn sorted(mut files: Vec<File>) -> Vec<File> {
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::content::tests::content;

    #[test]
    fn every_file_that_a_package_names_is_in_the_sources() {
        for family in [Family::Debian, Family::Rpm] {
            let files = content().installed(family).unwrap();
            let has = |path: &str| files.iter().any(|file| file.path == path);
            assert!(has("etc/ldrscope/ldrscope.toml") && has("usr/share/ldrscope/grafana/ldrscope.json"));
            assert!(has("usr/share/man/man1/ldrscope.1.gz"));
            assert!(files.is_sorted_by(|one, other| one.path < other.path));
        }
    }

    #[test]
    fn the_tarball_has_the_binary_the_licences_and_what_the_containerfile_copies() {
        let tree = content().tree();
        let has = |path: &str| tree.iter().any(|file| file.path == path);
        let recipe =
            String::from_utf8(content().source("packaging/Containerfile").unwrap().to_vec()).unwrap();
        let copied = recipe
            .lines()
            .filter_map(|line| line.strip_prefix("COPY "))
            .flat_map(|line| line.split_whitespace().rev().skip(1));
        for path in copied {
            assert!(has(path), "{path}");
        }
        assert!(has("LICENSE-MIT") && has("bin/ldrscope"));
    }
}
