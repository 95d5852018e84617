//! What is linked into the static binary, and under which terms: every crate of both sides with its own licence texts.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::{build::HOST_TARGET, tool};

/// The crates that are shipped.
const SHIPPED: [&str; 2] = ["probe-user", "probe-ebpf"];

/// How the files begin that hold terms.
const TERMS: [&str; 6] = [
    "LICENSE",
    "LICENCE",
    "COPYING",
    "COPYRIGHT",
    "NOTICE",
    "UNLICENSE",
];

const HEAD: &str = "\
What is linked into the static binary `ldrscope`, and under which terms.

Rust's standard library: MIT OR Apache-2.0.
The GNU C library: LGPL-2.1-or-later. ldrscope's sources, with `cargo xtask build`, link it anew against another one.

Crates, and below them the texts that they bring along:

";

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    manifest_path: PathBuf,
    source: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Debug, Deserialize)]
struct DependencyKind {
    /// None for what is linked; else `build` or `dev`.
    kind: Option<String>,
}

/// The whole text.
pub(super) fn write() -> Result<String> {
    let text = tool::capture(tool::cargo("metadata").args([
        "--format-version",
        "1",
        "--locked",
        "--filter-platform",
        HOST_TARGET,
    ]))?;
    let metadata: Metadata = serde_json::from_str(&text).context("cargo metadata has an unknown form")?;
    let mut text = HEAD.to_owned();
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in linked(&metadata) {
        let name = format!("{} {}", package.name, package.version);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{name}: {}",
            package.license.as_deref().unwrap_or("unknown")
        );
        for terms in terms_of(&package.manifest_path)? {
            texts.entry(terms).or_default().push(name.clone());
        }
    }
    for (terms, names) in &texts {
        let _ = write!(text, "\n{}\n{}:\n\n{terms}\n", "-".repeat(72), names.join(", "));
    }
    Ok(text)
}

/// What is linked into the shipped crates and comes from elsewhere, by name and version.
fn linked(metadata: &Metadata) -> Vec<&Package> {
    let nodes: HashMap<&str, &Node> = metadata
        .resolve
        .nodes
        .iter()
        .map(|node| (node.id.as_str(), node))
        .collect();
    let mut reached = BTreeSet::new();
    let mut next: Vec<&str> = metadata
        .packages
        .iter()
        .filter(|package| package.source.is_none() && SHIPPED.contains(&package.name.as_str()))
        .map(|package| package.id.as_str())
        .collect();
    while let Some(id) = next.pop() {
        if !reached.insert(id) {
            continue;
        }
        let dependencies = nodes.get(id).into_iter().flat_map(|node| &node.deps);
        let linked =
            dependencies.filter(|dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none()));
        next.extend(linked.map(|dependency| dependency.pkg.as_str()));
    }
    let mut packages: Vec<_> = metadata
        .packages
        .iter()
        .filter(|package| package.source.is_some() && reached.contains(package.id.as_str()))
        .collect();
    packages.sort_by(|one, other| (&one.name, &one.version).cmp(&(&other.name, &other.version)));
    packages
}

/// The texts beside a crate's manifest, sorted by file name.
fn terms_of(manifest: &Path) -> Result<Vec<String>> {
    let directory = manifest.parent().context("a manifest without a directory")?;
    let context = || format!("cannot list {}", directory.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).with_context(context)? {
        let path = entry.with_context(context)?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .to_uppercase();
        if path.is_file() && TERMS.iter().any(|start| name.starts_with(start)) {
            files.push(path);
        }
    }
    files.sort();
    files
        .iter()
        .map(|path| {
            let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            Ok(String::from_utf8_lossy(&bytes)
                .replace('\r', "")
                .trim()
                .to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_linked_is_named_and_what_only_builds_or_tests_is_not() {
        let text = write().unwrap();
        assert!(text.contains("\naya 0.14.0: MIT OR Apache-2.0\n"), "{text}");
        assert!(text.contains("\naya-ebpf 0.2.1: "), "{text}");
        for absent in ["proptest", "jsonschema", "qemu"] {
            assert!(!text.contains(&format!("\n{absent} ")), "{absent}");
        }
        assert!(text.contains("Permission is hereby granted"));
    }
}
