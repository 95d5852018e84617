//! `cargo xtask test`: everything that must hold before a change is kept.
//!
//! Lints, unit tests, the build, then the suite of cases in the lab, once for each kernel ([`suite`]). A failed part does
//! not stop the others unless they need it; the account at the end counts every check, unit test and case.

mod suite;
mod unit;

use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::Result;

use self::suite::CaseEnd;
use crate::{
    build::{self, Binaries, Profile},
    kernels::{self, Kernel, Series},
    lint, setup,
    tally::Tally,
};

/// The kernels whose suite is run by default. 5.10 is refused by ldrscope so far.
const KERNELS: [Series; 4] = [Series::V6_1, Series::V6_12, Series::V6_18, Series::V7_3];

/// Labs at a time: each is one busy thread and 2 GiB.
const LANES: usize = 2;

/// `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Run the lab's suite on these kernel series only
    #[arg(long, value_name = "SERIES", value_delimiter = ',')]
    kernel: Vec<Series>,
    /// Run only the lab's suite, without lints and unit tests
    #[arg(long)]
    lab_only: bool,
}

/// Runs the checks and prints the account.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut tally = Tally::default();
    setup::lab()?;
    setup::lints()?;
    let (toolchain, linker) = setup::build()?;
    if !arguments.lab_only {
        lint::checks(&mut tally, &toolchain, &linker);
        tally.count("unit tests", "cargo test", unit::run);
    }
    let mut binaries = None;
    tally.check("build", "the compilers", || {
        binaries = Some(build::build(Profile::Release)?);
        Ok(())
    });
    let series = if arguments.kernel.is_empty() {
        &KERNELS[..]
    } else {
        &arguments.kernel
    };
    let mut ready = Vec::new();
    for &series in series {
        tally.check(&format!("{series} kernel"), "the kernel cache", || {
            ready.push(kernels::ensure(series)?);
            Ok(())
        });
    }
    match binaries {
        Some(binaries) => {
            for end in suites(ready, &binaries) {
                match end.failure {
                    None => tally.passed(end.name, end.took),
                    Some(reason) => tally.failed(end.name, &reason, end.took),
                }
            }
        }
        None => {
            for series in series {
                tally.failed(
                    format!("{series} suite"),
                    "not run: the build failed",
                    Duration::ZERO,
                );
            }
        }
    }
    Ok(tally.close())
}

/// Runs the suites of `kernels`, [`LANES`] at a time; their ends come in the order of the kernels.
fn suites(kernels: Vec<Kernel>, binaries: &Binaries) -> Vec<CaseEnd> {
    let lanes = thread::available_parallelism().map_or(1, usize::from).min(LANES);
    let waiting = Mutex::new(kernels.into_iter().enumerate());
    let ended = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| {
                while let Some((place, kernel)) = next(&waiting) {
                    let ends = suite::run(kernel, binaries);
                    ended
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .insert(place, ends);
                }
            });
        }
    });
    ended
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
        .into_values()
        .flatten()
        .collect()
}

/// The lock is held for the choice alone, not for the suite that follows.
fn next<T>(waiting: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).next()
}
