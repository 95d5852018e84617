//! Runs the workspace's unit and integration tests and counts them.

use std::process::Stdio;

use anyhow::{Context as _, Result, bail};

use crate::{progress, tally::Parts, tool};

/// What became of them.
pub(crate) fn run() -> Result<Parts> {
    let mut cargo = tool::cargo("test");
    cargo
        .args([
            "--workspace",
            "--exclude",
            "probe-ebpf",
            "--no-fail-fast",
            "--quiet",
        ])
        .stdin(Stdio::null());
    let output = cargo.output().context("cannot start cargo test")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let (passed, failed) = count(&said);
    if !output.status.success() {
        progress::quote(&said);
        let errors = String::from_utf8_lossy(&output.stderr);
        progress::quote(&errors);
        if failed == 0 {
            bail!("cargo test failed ({}); what it said is above", output.status);
        }
    }
    Ok(Parts {
        passed,
        failed,
        reasons: failures(&said),
    })
}

/// What failed and why: what each test binary says between its first heading of failures and its result.
fn failures(said: &str) -> String {
    let mut within = false;
    said.lines()
        .filter(|line| {
            within = (within || *line == "failures:") && !line.starts_with("test result: ");
            within
        })
        .map(|line| format!("{line}\n"))
        .collect()
}

/// Sums the `test result:` lines, one for each test binary.
fn count(said: &str) -> (usize, usize) {
    let results = said.lines().filter_map(|line| line.strip_prefix("test result: "));
    results.fold((0, 0), |(passed, failed), line| {
        let number = |word: &str| {
            let before = line
                .split(word)
                .next()
                .and_then(|text| text.split_whitespace().next_back());
            before
                .and_then(|number| number.parse::<usize>().ok())
                .unwrap_or(0)
        };
        (passed + number(" passed"), failed + number(" failed"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_of_all_test_binaries_are_summed() {
        let said = "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n\
                    noise: 9 passed\n\
                    test result: FAILED. 3 passed; 2 failed; 1 ignored; 0 measured\n";
        assert_eq!(count(said), (15, 2));
    }

    #[test]
    fn of_what_they_said_the_failures_are_kept() {
        let said = "running 3 tests\n..F\nfailures:\n\n---- it_holds stdout ----\nassertion failed\n\n\
                    failures:\n    it_holds\n\ntest result: FAILED. 2 passed; 1 failed\n\nrunning 1 test\n";
        assert_eq!(
            failures(said),
            "failures:\n\n---- it_holds stdout ----\nassertion failed\n\nfailures:\n    it_holds\n\n"
        );
    }
}
