//! What this machine's own paths become in what is built, so that a checkout elsewhere yields the same bytes.
//!
//! Cargo leaves `--remap-path-prefix` out of the names that it derives from flags: the mapping changes nothing else.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::paths;

const WORKSPACE: &str = "/ldrscope";
const TARGET: &str = "/target";
const CRATES: &str = "/crates";

/// rustc's flags for the mapping, of a build into `target`.
pub(crate) fn flags(target: &Path) -> Vec<String> {
    // rustc takes the last that matches, so the inner directories come later.
    let own = [
        (paths::workspace().to_owned(), WORKSPACE),
        (target.to_owned(), TARGET),
    ];
    let crates = registries().into_iter().map(|path| (path, CRATES));
    own.into_iter()
        .chain(crates)
        .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()))
        .collect()
}

/// `flags` as `CARGO_ENCODED_RUSTFLAGS` has them: a path may contain blanks.
pub(crate) fn encoded(flags: impl IntoIterator<Item = String>) -> String {
    const UNIT_SEPARATOR: &str = "\u{1f}";
    flags.into_iter().collect::<Vec<_>>().join(UNIT_SEPARATOR)
}

/// Where cargo unpacks crates: one directory a registry, named after its address. Sorted.
fn registries() -> Vec<PathBuf> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| {
        let home = env::var_os("HOME")?;
        Some(PathBuf::from(home).join(".cargo"))
    });
    let Some(entries) = home.and_then(|home| fs::read_dir(home.join("registry/src")).ok()) else {
        return Vec::new();
    };
    let mut found: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_directory_inside_the_workspace_has_the_last_word() {
        let flags = flags(&paths::target());
        let place = |to: &str| flags.iter().position(|flag| flag.ends_with(&format!("={to}")));
        assert!(place(WORKSPACE) < place(TARGET), "{flags:?}");
    }
}
