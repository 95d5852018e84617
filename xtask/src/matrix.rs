//! `cargo xtask matrix`: the page that says which kernels ldrscope was tested on, made of what test runs left behind.
//!
//! Each run of `cargo xtask test` writes down, kernel by kernel, which case passed in which boot; what an earlier run left of another
//! kernel stays. The page is made of nothing else.

mod page;

use std::{collections::BTreeMap, fs, io, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::{
    commit,
    kernels::{Kernel, MATRIX, Series},
    paths, progress,
    test::suite::CaseEnd,
    tool,
};

const PAGE: &str = "docs/kernels.md";

/// What the runs left, by series.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Runs(BTreeMap<String, KernelRun>);

/// The last run on one kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KernelRun {
    /// As `uname -r` says.
    release: String,
    /// Debian's version of its package.
    version: String,
    /// The day, `YYYY-MM-DD`.
    date: String,
    /// What was tested.
    commit: String,
    cases: Vec<Case>,
}

/// A case in a boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Case {
    boot: String,
    case: String,
    passed: bool,
}

/// Keeps what became of the cases that ran on `kernels`.
///
/// # Errors
/// Where it cannot be written, or what was kept before cannot be read.
pub(crate) fn keep(kernels: &[Kernel], ends: &[CaseEnd]) -> Result<()> {
    let mut runs = load()?;
    let date = tool::capture(tool::command("date").args(["-u", "+%F"]))?;
    let commit = commit::current();
    for kernel in kernels {
        let series = kernel.series();
        let cases: Vec<_> = ends.iter().filter_map(|end| Case::on(series, end)).collect();
        if cases.is_empty() {
            continue;
        }
        let run = KernelRun {
            release: kernel.release().to_owned(),
            version: kernel.version().to_owned(),
            date: date.trim().to_owned(),
            commit: commit.clone(),
            cases,
        };
        runs.0.insert(series.name().to_owned(), run);
    }
    let path = place();
    let text = serde_json::to_string_pretty(&runs).context("cannot write the runs as JSON")?;
    fs::write(&path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}

/// Writes the page.
///
/// # Errors
/// Where a kernel of the matrix was not tested, or the page cannot be written.
pub(crate) fn run() -> Result<()> {
    let runs = load()?;
    let missing: Vec<_> = MATRIX
        .iter()
        .filter(|series| !runs.0.contains_key(series.name()))
        .map(|series| series.name())
        .collect();
    if !missing.is_empty() {
        bail!(
            "nothing is known of {}; run `cargo xtask test --kernel {}` first",
            missing.join(", "),
            missing.join(",")
        );
    }
    let path = paths::workspace().join(PAGE);
    fs::write(&path, page::write(&runs)).with_context(|| format!("cannot write {}", path.display()))?;
    progress::note(format_args!("{PAGE} is written"));
    Ok(())
}

fn place() -> PathBuf {
    paths::target().join("test-runs.json")
}

fn load() -> Result<Runs> {
    let path = place();
    match fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text)
            .with_context(|| format!("{} cannot be read; remove it", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Runs::default()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

impl Case {
    /// A case's end, if it ran on that kernel. The account calls it by kernel, boot and case, the plain boot left out; on a
    /// journey the boot is the journey, and the kernel the last one that it came to.
    fn on(series: Series, end: &CaseEnd) -> Option<Self> {
        let (title, case) = end.name.rsplit_once(' ')?;
        let words: Vec<&str> = title.split(' ').collect();
        let is_series = |word: &&str| word.parse::<Series>().is_ok();
        let kernel = words.iter().rfind(|word| is_series(word))?;
        let boot = match words[..] {
            [first] if is_series(&first) => "plain".to_owned(),
            [first, ref boot @ ..] if is_series(&first) => boot.join(" "),
            [journey, ..] => journey.to_owned(),
            [] => return None,
        };
        (*kernel == series.name()).then(|| Self {
            boot,
            case: case.to_owned(),
            passed: end.failure.is_none(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn end(name: &str, failure: Option<&str>) -> CaseEnd {
        CaseEnd {
            name: name.to_owned(),
            failure: failure.map(str::to_owned),
            took: Duration::ZERO,
        }
    }

    #[test]
    fn cases_are_found_by_what_the_account_calls_them() {
        let on =
            |series, name| Case::on(series, &end(name, None)).map(|case| (case.boot, case.case, case.passed));
        let some = |boot: &str, case: &str| Some((boot.to_owned(), case.to_owned(), true));
        assert_eq!(on(Series::V6_1, "6.1 kdump/cold"), some("plain", "kdump/cold"));
        assert_eq!(on(Series::V6_1, "6.1 two-cpus storm"), some("two-cpus", "storm"));
        assert_eq!(on(Series::V6_12, "6.1 two-cpus storm"), None);
        assert_eq!(
            on(Series::V6_12, "migration 6.1 to 6.12 arrive"),
            some("migration", "arrive")
        );
        assert_eq!(on(Series::V6_1, "migration 6.1 to 6.12 arrive"), None);
        assert_eq!(on(Series::V6_1, "6.1 package"), some("plain", "package"));
        assert_eq!(on(Series::V6_1, "clippy, userspace"), None);
        let failed = Case::on(Series::V6_1, &end("6.1 x", Some("no")));
        assert!(!failed.unwrap().passed);
    }

    #[test]
    fn the_page_of_the_tree_is_about_the_kernels_of_the_matrix() {
        // Before the first whole run there is none.
        let Ok(text) = fs::read_to_string(paths::workspace().join(PAGE)) else {
            return;
        };
        let named = page::kernels(&text);
        assert_eq!(named, MATRIX.map(Series::name), "run `cargo xtask matrix`");
    }
}
