//! The tree's own rules that no compiler checks: short modules that open with what they own, no trace of one machine.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use crate::{paths, tool};

/// A module longer than this has more than one reason to change.
const LONGEST_MODULE: usize = 500;

/// The one place that packages may come from, as the lock file names it.
const REGISTRY: &str = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";

/// Roots of directories that exist on one machine only, taken apart so that this file passes its own check.
const LOCAL_ROOTS: &[&str] = &[
    concat!("/ho", "me/"),
    concat!("/wo", "rk/"),
    concat!("/tm", "p/w/"),
    concat!("/Us", "ers/"),
];

/// Fails with every rule that a tracked or new file breaks.
pub(crate) fn check() -> Result<()> {
    let mut command = std::process::Command::new("git");
    command
        .current_dir(paths::workspace())
        .args(["ls-files", "--cached", "--others", "--exclude-standard"]);
    let mut broken = Vec::new();
    for name in tool::capture(&mut command)?.lines() {
        let path = paths::workspace().join(name);
        // A file deleted but not yet committed is still listed.
        if !path.exists() {
            continue;
        }
        let bytes = fs::read(&path).with_context(|| format!("cannot read {name}"))?;
        // What is not UTF-8 is a test's input, not a text of ours.
        if let Ok(text) = std::str::from_utf8(&bytes) {
            broken.extend(broken_rules(name, text));
        }
    }
    ensure!(broken.is_empty(), "{}", broken.join("\n"));
    Ok(())
}

fn broken_rules(name: &str, text: &str) -> Vec<String> {
    let mut broken = Vec::new();
    if name.ends_with(".rs") {
        let lines = text.lines().count();
        if lines > LONGEST_MODULE {
            broken.push(format!(
                "{name}: {lines} lines; split it, {LONGEST_MODULE} is the most"
            ));
        }
        if !text.starts_with("//!") {
            broken.push(format!(
                "{name}: does not open with `//!` saying what the module owns"
            ));
        }
    }
    for (index, line) in text.lines().enumerate() {
        let place = || format!("{name}:{}", index + 1);
        if let Some(root) = LOCAL_ROOTS.iter().find(|root| line.contains(**root)) {
            broken.push(format!("{}: a path under {root} is one machine's own", place()));
        }
        if name.ends_with("Cargo.lock") && line.starts_with("source = ") && line != REGISTRY {
            broken.push(format!("{}: packages come from crates.io only", place()));
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_short_and_say_what_they_own() {
        assert_eq!(broken_rules("a.rs", "//! Owns a.\n"), [""; 0]);
        assert_eq!(broken_rules("a.rs", "use b;\n").len(), 1);
        let long = format!("//! Owns too much.\n{}", "\n".repeat(LONGEST_MODULE));
        assert_eq!(broken_rules("a.rs", &long).len(), 1);
        assert_eq!(broken_rules("a.txt", &long), [""; 0]);
    }

    #[test]
    fn one_machines_paths_and_other_registries_are_found() {
        let path = format!("see {}someone/notes\n", LOCAL_ROOTS[0]);
        assert_eq!(broken_rules("a.md", &path).len(), 1);
        let lock = format!("{REGISTRY}\nsource = \"registry+https://mirror.test/index\"\n");
        let broken = broken_rules("Cargo.lock", &lock);
        assert_eq!(broken, ["Cargo.lock:2: packages come from crates.io only"]);
    }
}
