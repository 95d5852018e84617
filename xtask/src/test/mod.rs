//! `cargo xtask test`: everything that must hold before a change is kept.
//!
//! Lints, unit tests, the build, then the suite of cases in the lab, for each kernel in the boots it lists ([`suite`]). A failed part does
//! not stop the others unless they need it; the account at the end counts every check, unit test and case.

mod suite;
mod unit;

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    process::ExitCode,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::Result;
use lab_protocol::{Boot, KvmBuild};

use self::suite::CaseEnd;
use crate::{
    build::{self, Binaries, Profile},
    kernels::{self, Kernel, MATRIX, Series},
    lint, setup,
    tally::Tally,
};

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
        &MATRIX[..]
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
            let mut runs = Vec::new();
            for kernel in ready {
                let series = kernel.series();
                match suite::boots(series, &binaries) {
                    Ok(boots) => {
                        for boot in boots {
                            if let Some(kernel) = fitted(&mut tally, &kernel, &boot) {
                                runs.push((kernel, boot));
                            }
                        }
                    }
                    Err(error) => {
                        tally.failed(format!("{series} suite"), &format!("{error:#}"), Duration::ZERO);
                    }
                }
            }
            for end in suites(runs, &binaries) {
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

/// `kernel` with the KVM that `boot` asks for; `None`, and accounted for as failed, if that cannot be had.
fn fitted(tally: &mut Tally, kernel: &Kernel, boot: &Boot) -> Option<Kernel> {
    if boot.kvm_build == KvmBuild::Stock {
        return Some(kernel.clone());
    }
    let mut fitted = None;
    let name = format!("{} KVM {}", kernel.series(), boot.kvm_build);
    tally.check(&name, "the kernel cache", || {
        fitted = Some(kernels::with_kvm(kernel.clone(), boot.kvm_build)?);
        Ok(())
    });
    fitted
}

/// Runs the boots of `runs`, [`LANES`] at a time; their ends come in the order of `runs`.
fn suites(runs: Vec<(Kernel, Boot)>, binaries: &Binaries) -> Vec<CaseEnd> {
    let lanes = thread::available_parallelism().map_or(1, usize::from).min(LANES);
    let mut runs: Vec<_> = runs.into_iter().enumerate().collect();
    // Long ones first, so that no lane is left alone with one at the end.
    runs.sort_by_key(|(_, (_, boot))| Reverse(boot.cases.len()));
    let waiting = Mutex::new(runs.into_iter());
    let ended = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| {
                while let Some((place, (kernel, boot))) = next(&waiting) {
                    let ends = suite::run(kernel, &boot, binaries);
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
