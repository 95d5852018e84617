//! Runs the workspace's unit and integration tests and counts them.

use std::process::Stdio;

use anyhow::{Context as _, Result, bail};

use crate::{progress, tool};

/// How many tests passed and failed.
pub(crate) fn run() -> Result<(usize, usize)> {
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
    Ok((passed, failed))
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
}
