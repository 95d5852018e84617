//! The account of a run of checks: what passed, what failed and why, how long each took.
//!
//! A failed check does not stop the others; the closing line and the exit status tell all of them. What failed is told
//! once more below the table, with its whole reason: the end of a log is what a reader sees first and a CI keeps longest.

use std::{fmt::Write as _, iter, process::ExitCode, time::Duration};

use anyhow::Result;

use crate::progress;

/// How many lines of a reason the end of the account repeats: its last ones, since an error's cause stands there.
const REPEATED: usize = 40;

/// Results so far, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    rows: Vec<Row>,
}

/// What became of a check's own parts.
#[derive(Debug)]
pub(crate) struct Parts {
    /// How many passed.
    pub(crate) passed: usize,
    /// How many failed.
    pub(crate) failed: usize,
    /// What those said, in any number of lines.
    pub(crate) reasons: String,
}

impl Parts {
    /// A check that is its own only part: why it failed, if it did.
    fn of(failure: Option<String>) -> Self {
        let failed = usize::from(failure.is_some());
        Self {
            passed: 1 - failed,
            failed,
            reasons: failure.unwrap_or_default(),
        }
    }
}

#[derive(Debug)]
struct Row {
    name: String,
    parts: Parts,
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
        self.count(name, waiting_for, || check().map(|()| Parts::of(None)))
    }

    /// Runs a check that counts its own parts as passed and failed and has shown why.
    pub(crate) fn count(
        &mut self,
        name: &str,
        waiting_for: &str,
        check: impl FnOnce() -> Result<Parts>,
    ) -> bool {
        let step = progress::step(name, waiting_for);
        let parts = check().unwrap_or_else(|error| {
            let reason = format!("{error:#}");
            progress::quote(&reason);
            Parts::of(Some(reason))
        });
        let holds = parts.failed == 0;
        let took = step.done(if holds { "passed" } else { "FAILED" });
        self.rows.push(Row {
            name: name.to_owned(),
            parts,
            took,
        });
        holds
    }

    /// Accounts for something that was tried elsewhere: why it failed, if it did.
    pub(crate) fn ended(&mut self, name: String, failure: Option<String>, took: Duration) {
        self.rows.push(Row {
            name,
            parts: Parts::of(failure),
            took,
        });
    }

    /// Accounts for something that could not even be tried.
    pub(crate) fn failed(&mut self, name: String, reason: &str) {
        self.ended(name, Some(reason.to_owned()), Duration::ZERO);
    }

    /// Accounts for all that another account has, after its own.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.rows.append(&mut other.rows);
    }

    /// Prints the table and the closing line on standard output.
    #[expect(
        clippy::print_stdout,
        reason = "the account is the result of `test` and `lint`"
    )]
    pub(crate) fn close(self) -> ExitCode {
        print!("{}", self.account());
        if self.rows.iter().all(|row| row.parts.failed == 0) {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    /// The table, what failed, and the closing line.
    fn account(&self) -> String {
        let mut text = self.table();
        text.extend(
            self.rows
                .iter()
                .filter(|row| row.parts.failed > 0)
                .map(Row::again),
        );
        let sum = |part: fn(&Row) -> usize| self.rows.iter().map(part).sum::<usize>();
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{} passed, {} failed",
            sum(|row| row.parts.passed),
            sum(|row| row.parts.failed)
        );
        text
    }

    fn table(&self) -> String {
        let width = self
            .rows
            .iter()
            .map(|row| row.name.chars().count())
            .max()
            .unwrap_or_default();
        let mut text = String::new();
        for Row { name, parts, took } in &self.rows {
            let Parts {
                passed,
                failed,
                reasons,
            } = parts;
            let verdict = if *failed == 0 { "passed" } else { "FAILED" };
            let count = if passed + failed == 1 {
                String::new()
            } else {
                format!("  {passed} passed, {failed} failed")
            };
            let reason = reasons
                .lines()
                .next()
                .map(|line| format!("  {line}"))
                .unwrap_or_default();
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{name:width$}  {verdict}  {:7.1} s{count}{reason}",
                took.as_secs_f64()
            );
        }
        text
    }
}

impl Row {
    /// A failed row for the end of the account: its name above the last lines of its reason.
    fn again(&self) -> String {
        let lines = self.parts.reasons.lines().collect::<Vec<_>>();
        let left_out = lines.len().saturating_sub(REPEATED);
        let cut = (left_out > 0).then(|| format!("(lines left out before: {left_out})"));
        let repeated = lines.into_iter().skip(left_out).map(str::to_owned);
        iter::once(format!("\nFAILED: {}\n", self.name))
            .chain(
                cut.into_iter()
                    .chain(repeated)
                    .map(|line| format!("    {line}\n")),
            )
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_stands_alone_and_counts_everything() {
        let mut tally = Tally::default();
        tally.check("format", "nothing", || Ok(()));
        tally.count("unit tests", "nothing", || {
            Ok(Parts {
                passed: 40,
                failed: 2,
                reasons: "one and two".to_owned(),
            })
        });
        tally.ended("6.1 kdump".to_owned(), None, Duration::from_millis(1500));
        tally.failed("6.1 clean".to_owned(), "a finding\nand more");
        let table = tally.account();
        assert_eq!(table.lines().last(), Some("42 passed, 3 failed"));
        assert!(table.contains("6.1 kdump   passed      1.5 s\n"), "{table}");
        assert!(table.contains("FAILED      0.0 s  a finding\n"), "{table}");
    }

    #[test]
    fn an_error_counts_as_one_failure() {
        let mut tally = Tally::default();
        assert!(!tally.check("clippy", "nothing", || anyhow::bail!("two warnings")));
        assert_eq!(tally.account().lines().last(), Some("0 passed, 1 failed"));
    }

    #[test]
    fn what_failed_is_told_again_at_the_end_with_its_whole_reason() {
        let mut tally = Tally::default();
        tally.failed("6.1 clean".to_owned(), "a finding\ncaused by more");
        tally.ended("6.1 kdump".to_owned(), None, Duration::ZERO);
        let account = tally.account();
        assert!(
            account.ends_with("\nFAILED: 6.1 clean\n    a finding\n    caused by more\n1 passed, 1 failed\n"),
            "{account}"
        );
    }

    #[test]
    fn of_a_long_reason_the_end_is_repeated() {
        let mut tally = Tally::default();
        let reason = (0..=REPEATED).map(|line| format!("{line}\n")).collect::<String>();
        tally.failed("clippy".to_owned(), &reason);
        let account = tally.account();
        assert!(
            account.contains("(lines left out before: 1)\n    1\n"),
            "{account}"
        );
        assert!(
            account.contains(&format!("    {REPEATED}\n0 passed, 1 failed\n")),
            "{account}"
        );
    }

    #[test]
    fn nothing_is_repeated_of_a_run_that_passed() {
        let mut tally = Tally::default();
        tally.ended("6.1 kdump".to_owned(), None, Duration::from_millis(500));
        assert_eq!(
            tally.account(),
            "6.1 kdump  passed      0.5 s\n1 passed, 0 failed\n"
        );
    }
}
