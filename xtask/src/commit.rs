//! What is being tried: the commit of the checkout.

use crate::{paths, tool};

/// The commit that is checked out, and whether the tree was as it says.
pub(crate) fn current() -> String {
    let ask = |arguments: &[&str]| {
        let mut git = std::process::Command::new("git");
        git.arg("-C").arg(paths::workspace()).args(arguments);
        tool::capture(&mut git)
    };
    match (
        ask(&["rev-parse", "--short=12", "HEAD"]),
        ask(&[
            "status",
            "--porcelain",
            "--",
            ".",
            ":!docs/performance",
            ":!docs/kernels.md",
        ]),
    ) {
        (Ok(commit), Ok(changes)) if changes.trim().is_empty() => commit.trim().to_owned(),
        (Ok(commit), _) => format!("{}, changed", commit.trim()),
        _ => "not known".to_owned(),
    }
}
