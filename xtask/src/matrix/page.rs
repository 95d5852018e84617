//! The page: which kernels, in which boots, which cases.

use std::{collections::BTreeSet, fmt::Write as _};

use super::{Case, KernelRun, Runs};
use crate::kernels::{MATRIX, Series};

const HEAD: &str = "\
# Kernels

ldrscope is tested on the stock kernels of Debian, each booted as a KVM host with real VMs in it. This page is made by `cargo xtask matrix` of what runs of
`cargo xtask test` left behind; nothing in it is written by hand.

| kernel | release | Debian's version | tested on | at commit | cases |
|---|---|---|---|---|---|
";

const CASES: &str = "
A figure counts passed cases; what did not pass says so; `-` is where a case has nothing to say on that kernel. What a boot is (two CPUs, harassed, with systemd, with
Linux guests, ...) is in `lab/src/cases/machine.rs`, what a case does beside it.

";

/// The page of `runs`, which has every kernel of the matrix.
pub(super) fn write(runs: &Runs) -> String {
    let mut text = HEAD.to_owned();
    for (series, run) in in_order(runs) {
        let passed = run.cases.iter().filter(|case| case.passed).count();
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {series} | {} | {} | {} | `{}` | {} |",
            run.release,
            run.version,
            run.date,
            run.commit,
            of(passed, run.cases.len())
        );
    }
    text.push_str(CASES);
    table(&mut text, "boot", runs, |case| &case.boot);
    text.push('\n');
    table(&mut text, "case", runs, |case| &case.case);
    text
}

/// The kernels that a page is about, in its order.
#[cfg(test)]
pub(super) fn kernels(page: &str) -> Vec<&str> {
    let rows = page.lines().skip_while(|line| !line.starts_with("|---|"));
    let rows = rows.skip(1).take_while(|line| line.starts_with('|'));
    rows.filter_map(|row| row.split('|').nth(1).map(str::trim))
        .collect()
}

fn in_order(runs: &Runs) -> impl Iterator<Item = (Series, &KernelRun)> {
    let known = |series: Series| runs.0.get(series.name()).map(|run| (series, run));
    MATRIX.into_iter().filter_map(known)
}

/// A row for each value of `key`, a column a kernel.
fn table(text: &mut String, title: &str, runs: &Runs, key: impl Fn(&Case) -> &str) {
    let names: Vec<_> = in_order(runs).map(|(series, _)| series.name()).collect();
    let _ = writeln!(text, "| {title} | {} |", names.join(" | "));
    let _ = writeln!(text, "|---|{}", "---|".repeat(names.len()));
    let all = in_order(runs).flat_map(|(_, run)| &run.cases);
    let rows: BTreeSet<&str> = all.map(&key).collect();
    for row in rows {
        let cells = in_order(runs).map(|(_, run)| {
            let cases = run.cases.iter().filter(|case| key(case) == row);
            let (passed, all) = cases.fold((0, 0), |(passed, all), case| {
                (passed + usize::from(case.passed), all + 1)
            });
            of(passed, all)
        });
        let cells: Vec<_> = cells.collect();
        let _ = writeln!(text, "| `{row}` | {} |", cells.join(" | "));
    }
}

fn of(passed: usize, all: usize) -> String {
    match (passed, all) {
        (_, 0) => "-".to_owned(),
        (passed, all) if passed == all => all.to_string(),
        (passed, all) => format!("**{passed} of {all}**"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_every_kernel_boot_and_case_and_hides_no_failure() {
        let case = |boot: &str, case: &str, passed| Case {
            boot: boot.to_owned(),
            case: case.to_owned(),
            passed,
        };
        let runs = Runs(
            MATRIX
                .iter()
                .map(|series| {
                    let mut cases = vec![case("plain", "kdump/cold", true)];
                    if *series == Series::V6_1 {
                        cases.push(case("two-cpus", "kdump/cold", false));
                    }
                    let run = KernelRun {
                        release: format!("{series}.0-1-amd64"),
                        version: format!("{series}.99-1"),
                        date: "2026-03-01".to_owned(),
                        commit: "0123".to_owned(),
                        cases,
                    };
                    (series.name().to_owned(), run)
                })
                .collect(),
        );
        let page = write(&runs);
        assert_eq!(kernels(&page), MATRIX.map(Series::name));
        assert!(
            page.contains("| 6.1 | 6.1.0-1-amd64 | 6.1.99-1 | 2026-03-01 | `0123` | **1 of 2** |\n"),
            "{page}"
        );
        assert!(
            page.contains("| `two-cpus` | - | **0 of 1** | - | - | - |\n"),
            "{page}"
        );
        assert!(
            page.contains("| `kdump/cold` | 1 | **1 of 2** | 1 | 1 | 1 |\n"),
            "{page}"
        );
    }
}
