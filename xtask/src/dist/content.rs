//! What a release consists of: the binary, what it prints of itself, and files of the sources. Where they go is [`super::place`]'s.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{Release, notices};
use crate::{paths, tool};

/// One file of a package.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// Where it goes, without a slash before it.
    pub(crate) path: String,
    /// Its permissions.
    pub(crate) mode: u32,
    /// What package managers take it for.
    pub(crate) kind: Kind,
    /// What is in it.
    pub(crate) bytes: Vec<u8>,
}

/// What package managers take a file for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Replaced by an upgrade.
    Plain,
    /// The administrator's: an upgrade asks before it replaces a changed one.
    Configuration,
    /// To read.
    Document,
    /// The terms.
    Licence,
}

/// Everything that is released, each part once.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    /// `ldrscope`, static.
    pub(super) binary: Vec<u8>,
    /// Page's file name and roff.
    pub(super) pages: Vec<(String, Vec<u8>)>,
    /// Shell and script.
    pub(super) completions: Vec<(Shell, Vec<u8>)>,
    /// What is linked into it, and under which terms.
    pub(super) third_party: String,
    /// Files of the sources by their path there.
    pub(super) sources: Vec<(String, Vec<u8>)>,
}

/// A shell with completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shell {
    /// bash
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

/// What the tarball has of the sources: files, and directories with their slash.
const TREE: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "docs/",
    "packaging/",
];

impl Content {
    /// Takes `binary`, what it prints of itself, and what ships of the sources.
    pub(crate) fn gather(release: &Release, binary: &Path) -> Result<Self> {
        let print = |words: &[&str]| {
            tool::capture(
                Command::new(binary)
                    .arg("print")
                    .args(words)
                    .env("SOURCE_DATE_EPOCH", release.epoch.to_string()),
            )
        };
        let mut pages = vec![("ldrscope.1".to_owned(), print(&["man"])?.into_bytes())];
        for verb in print(&["verbs"])?.lines() {
            let page = print(&["man", verb])?.into_bytes();
            pages.push((format!("ldrscope-{verb}.1"), page));
        }
        pages.sort();
        let completions = [Shell::Bash, Shell::Zsh, Shell::Fish]
            .into_iter()
            .map(|shell| Ok((shell, print(&["completions", shell.name()])?.into_bytes())))
            .collect::<Result<_>>()?;
        Ok(Self {
            binary: read(binary)?,
            pages,
            completions,
            third_party: notices::write()?,
            sources: sources()?,
        })
    }

    /// A file of the sources.
    pub(super) fn source(&self, path: &str) -> Result<&[u8]> {
        let found = self.sources.iter().find(|(name, _)| name == path);
        let (_, bytes) = found.with_context(|| format!("{path} is not among what ships"))?;
        Ok(bytes)
    }

    /// The same with `addition` at the end of a file of the sources: what a later release would bring.
    pub(crate) fn with_addition(mut self, path: &str, addition: &str) -> Self {
        for (name, bytes) in &mut self.sources {
            if name == path {
                bytes.extend_from_slice(addition.as_bytes());
            }
        }
        self
    }
}

impl Shell {
    const fn name(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Zsh => "zsh",
            Self::Fish => "fish",
        }
    }

    /// What the shell looks for.
    pub(super) const fn file_name(self) -> &'static str {
        match self {
            Self::Bash => "ldrscope",
            Self::Zsh => "_ldrscope",
            Self::Fish => "ldrscope.fish",
        }
    }
}

/// What ships of the sources, sorted by path.
fn sources() -> Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for name in TREE {
        collect(Path::new(name), &mut found)?;
    }
    found.sort();
    Ok(found)
}

fn collect(name: &Path, found: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    let path: PathBuf = paths::workspace().join(name);
    if !path.is_dir() {
        found.push((name.display().to_string(), read(&path)?));
        return Ok(());
    }
    let context = || format!("cannot list {}", path.display());
    for entry in fs::read_dir(&path).with_context(context)? {
        collect(&name.join(entry.with_context(context)?.file_name()), found)?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A release without a build.
    pub(in crate::dist) fn content() -> Content {
        Content {
            binary: b"ELF".to_vec(),
            pages: vec![("ldrscope.1".to_owned(), b".TH".to_vec())],
            completions: vec![(Shell::Zsh, b"#compdef".to_vec())],
            third_party: "crates".to_owned(),
            sources: sources().unwrap(),
        }
    }
}
