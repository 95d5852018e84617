//! The account of a run of checks: what passed, what failed and why, how long each took.
//!
//! A failed check does not stop the others; the closing line and the exit status tell all of them.

use std::{fmt::Write as _, process::ExitCode, time::Duration};

use anyhow::Result;

use crate::progress;

/// Results so far, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    name: String,
    passed: usize,
    failed: usize,
    /// Why, if anything failed: one line.
    reason: String,
    took: Duration,
}

impl Tally {
    /// Runs one check and accounts for it; its full error is shown at once. Returns whether it passed.
    pub(crate) fn check(
        &mut self,
        name: &str,
        waiting_for: &str,
        check: impl FnOnce() -> Result<()>,
    ) -> bool {
        self.count(name, waiting_for, || check().map(|()| (1, 0)))
    }

    /// Runs a check that counts its own parts as passed and failed.
    pub(crate) fn count(
        &mut self,
        name: &str,
        waiting_for: &str,
        check: impl FnOnce() -> Result<(usize, usize)>,
    ) -> bool {
        let step = progress::step(name, waiting_for);
        let (passed, failed, reason) = match check() {
            Ok((passed, 0)) => (passed, 0, String::new()),
            Ok((passed, failed)) => (passed, failed, format!("{failed} of {} failed", passed + failed)),
            Err(error) => {
                progress::quote(&format!("{error:#}"));
                (0, 1, "see above".to_owned())
            }
        };
        let took = step.done(if failed == 0 { "passed" } else { "FAILED" });
        self.rows.push(Row {
            name: name.to_owned(),
            passed,
            failed,
            reason,
            took,
        });
        failed == 0
    }

    /// Accounts for something that passed elsewhere.
    pub(crate) fn passed(&mut self, name: String, took: Duration) {
        self.rows.push(Row {
            name,
            passed: 1,
            failed: 0,
            reason: String::new(),
            took,
        });
    }

    /// Accounts for something that failed elsewhere.
    pub(crate) fn failed(&mut self, name: String, reason: &str, took: Duration) {
        self.rows.push(Row {
            name,
            passed: 0,
            failed: 1,
            reason: first_line(reason),
            took,
        });
    }

    /// Prints the table and the closing line on standard output.
    #[expect(
        clippy::print_stdout,
        reason = "the account is the result of `test` and `lint`"
    )]
    pub(crate) fn close(self) -> ExitCode {
        print!("{}", self.table());
        if self.rows.iter().all(|row| row.failed == 0) {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    fn table(&self) -> String {
        let width = self
            .rows
            .iter()
            .map(|row| row.name.chars().count())
            .max()
            .unwrap_or_default();
        let mut text = String::new();
        for Row {
            name,
            passed,
            failed,
            reason,
            took,
        } in &self.rows
        {
            let verdict = if *failed == 0 { "passed" } else { "FAILED" };
            let count = if passed + failed == 1 {
                String::new()
            } else {
                format!("  {passed} passed, {failed} failed")
            };
            let reason = if reason.is_empty() {
                String::new()
            } else {
                format!("  {reason}")
            };
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{name:width$}  {verdict}  {:7.1} s{count}{reason}",
                took.as_secs_f64()
            );
        }
        let sum = |part: fn(&Row) -> usize| self.rows.iter().map(part).sum::<usize>();
        let _ = writeln!(
            text,
            "{} passed, {} failed",
            sum(|row| row.passed),
            sum(|row| row.failed)
        );
        text
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_stands_alone_and_counts_everything() {
        let mut tally = Tally::default();
        tally.check("format", "nothing", || Ok(()));
        tally.count("unit tests", "nothing", || Ok((40, 2)));
        tally.passed("6.1 kdump".to_owned(), Duration::from_millis(1500));
        tally.failed("6.1 clean".to_owned(), "a finding\nand more", Duration::ZERO);
        let table = tally.table();
        assert_eq!(table.lines().last(), Some("42 passed, 3 failed"));
        assert!(table.contains("6.1 kdump   passed      1.5 s\n"), "{table}");
        assert!(table.contains("FAILED      0.0 s  a finding\n"), "{table}");
    }

    #[test]
    fn an_error_counts_as_one_failure() {
        let mut tally = Tally::default();
        assert!(!tally.check("clippy", "nothing", || anyhow::bail!("two warnings")));
        assert_eq!(tally.table().lines().last(), Some("0 passed, 1 failed"));
    }
}
