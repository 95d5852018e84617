//! Checks that everything in the lock file may be linked into an MIT or Apache-2.0 program, without asking the network.

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use spdx::{Expression, ParseMode};

use crate::tool;

/// Licences that ask no more than to be named. SPDX identifiers.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "NCSA",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
}

/// Fails with the list of packages whose licence is not allowed.
pub(crate) fn check() -> Result<()> {
    let text = tool::capture(tool::cargo("metadata").args(["--format-version", "1", "--locked"]))?;
    let metadata: Metadata = serde_json::from_str(&text).context("cargo metadata has an unknown form")?;
    let refused: Vec<String> = metadata
        .packages
        .iter()
        .filter(|package| !package.license.as_deref().is_some_and(is_allowed))
        .map(
            |Package {
                 name,
                 version,
                 license,
             }| format!("{name} {version}: {license:?}"),
        )
        .collect();
    ensure!(
        refused.is_empty(),
        "these packages' licences are not among {}:\n{}",
        ALLOWED.join(", "),
        refused.join("\n")
    );
    Ok(())
}

/// Whether the SPDX `expression` can be met by allowed licences alone. Exceptions only add permissions.
fn is_allowed(expression: &str) -> bool {
    let Ok(expression) = Expression::parse_mode(expression, ParseMode::LAX) else {
        return false;
    };
    expression.evaluate(|requirement| {
        requirement
            .license
            .id()
            .is_some_and(|id| ALLOWED.contains(&id.name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_allowed_branch_of_an_or_suffices_and_every_part_of_an_and_counts() {
        assert!(is_allowed("MIT OR Apache-2.0"));
        assert!(is_allowed("MIT/Apache-2.0"));
        assert!(is_allowed("GPL-2.0-only OR MIT"));
        assert!(is_allowed("Apache-2.0 WITH LLVM-exception OR MIT"));
        assert!(is_allowed("(MIT OR Apache-2.0) AND Unicode-3.0"));
        assert!(!is_allowed("MIT AND GPL-3.0-only"));
        assert!(!is_allowed("GPL-2.0-only"));
        assert!(!is_allowed("as you like"));
    }
}
