//! `cargo xtask test`: everything that must hold before a change is kept.
//!
//! Lints, unit tests, some seconds of fuzzing, the build, what ships beside the binary ([`shipped`]), then the suite of cases
//! in the lab, for each kernel in the boots it lists ([`suite`]), the journeys between kernels ([`journey`]) and a package's
//! life on a host, in [`lanes`] beside each other. A failed part does not stop the others unless they need it; the account at
//! the end counts every check, unit test and case, and what became of each case is kept for [`crate::matrix`].

mod journey;
pub(crate) mod lanes;
mod shipped;
pub(crate) mod suite;
mod unit;

use std::{panic, path::Path, process::ExitCode, thread};

use anyhow::Result;
use lab_protocol::Scale;

use self::{lanes::Task, suite::Suite};
use crate::{
    build::{self, Binaries, Profile},
    fuzz,
    kernels::{self, Kernel, MATRIX, Series},
    lint, matrix,
    setup::{self, BpfToolchain},
    tally::Tally,
};

/// The kernel of the host that a package lives on: the one of the Debian that most machines have.
const PACKAGE_HOST: Series = Series::V6_1;

/// `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Run the lab's suite on these kernel series only, and the journeys that need no other
    #[arg(long, value_name = "SERIES", value_delimiter = ',')]
    kernel: Vec<Series>,
    /// Run only the lab's suite, without lints, unit tests and fuzzing
    #[arg(long)]
    lab_only: bool,
    /// Run only the checks of what ships beside the binary: alert rules, dashboard, unit, configuration, packages
    #[arg(long, conflicts_with_all = ["lab_only", "kernel"])]
    shipped_only: bool,
}

/// Runs the checks and prints the account.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    setup::lab()?;
    if arguments.shipped_only {
        return shipped::run(PACKAGE_HOST);
    }
    setup::lints()?;
    setup::shipped()?;
    let (toolchain, linker) = setup::build()?;
    if !arguments.lab_only {
        setup::fuzz()?;
    }
    let series = if arguments.kernel.is_empty() {
        &MATRIX[..]
    } else {
        &arguments.kernel
    };
    // Debian's archive is waited for while the compilers work.
    let ((mut tally, binaries), (fetched, ready)) = thread::scope(|scope| {
        let kernels = scope.spawn(|| fetch(series));
        let checked = without_a_kernel(arguments, &toolchain, &linker);
        let kernels = kernels.join();
        (
            checked,
            kernels.unwrap_or_else(|cause| panic::resume_unwind(cause)),
        )
    });
    tally.append(fetched);
    match binaries {
        Some(binaries) => {
            let ends = lanes::run(tasks(&ready, &binaries, &mut tally));
            if let Err(error) = matrix::keep(&ready, &ends) {
                tally.failed("record of the run".to_owned(), &format!("{error:#}"));
            }
            for end in ends {
                tally.ended(end.name, end.failure, end.took);
            }
        }
        None => {
            for series in series {
                tally.failed(format!("{series} suite"), "not run: the build failed");
            }
        }
    }
    Ok(tally.close())
}

/// The account of all that needs no kernel, and what was built for the lab.
fn without_a_kernel(
    arguments: &Arguments,
    toolchain: &BpfToolchain,
    linker: &Path,
) -> (Tally, Option<Binaries>) {
    let mut tally = Tally::default();
    if !arguments.lab_only {
        lint::checks(&mut tally, toolchain, linker);
        tally.count("unit tests", "cargo test", unit::run);
        fuzz::checks(&mut tally);
    }
    let mut binaries = None;
    tally.check("build", "the compilers", || {
        binaries = Some(build::build(Profile::Release)?);
        Ok(())
    });
    if let Some(binaries) = binaries.as_ref().filter(|_| !arguments.lab_only) {
        shipped::checks(&mut tally, &binaries.ldrscope);
    }
    (tally, binaries)
}

/// The kernels of `series` that can be had, and the account of all.
fn fetch(series: &[Series]) -> (Tally, Vec<Kernel>) {
    let mut tally = Tally::default();
    let mut ready = Vec::new();
    for &series in series {
        tally.check(&format!("{series} kernel"), "the kernel cache", || {
            ready.push(kernels::ensure(series)?);
            Ok(())
        });
    }
    (tally, ready)
}

/// All that runs in the lab on `kernels`; what cannot even be listed is accounted for as failed.
fn tasks<'a>(kernels: &'a [Kernel], binaries: &'a Binaries, tally: &mut Tally) -> Vec<Task<'a>> {
    let mut tasks = Vec::new();
    for kernel in kernels {
        match suite::boots(kernel.series(), Scale::Test, binaries) {
            Ok(boots) => tasks.extend(
                boots
                    .into_iter()
                    .map(|boot| Suite::alone(kernel.clone(), boot, Scale::Test).task(binaries)),
            ),
            Err(error) => {
                tally.failed(format!("{} suite", kernel.series()), &format!("{error:#}"));
            }
        }
    }
    // One kernel is enough: what is tested is the package, and the documents.
    if let Some(kernel) = kernels.iter().find(|kernel| kernel.series() == PACKAGE_HOST) {
        tasks.push(Task {
            weight: shipped::package::WEIGHT,
            run: Box::new(move || vec![shipped::package::live(kernel.clone(), binaries)]),
        });
        tasks.push(Task {
            weight: shipped::commands::WEIGHT,
            run: Box::new(move || vec![shipped::commands::on_a_host(kernel.clone(), binaries)]),
        });
    }
    for kernel in kernels
        .iter()
        .filter(|kernel| shipped::reproducer::is_for(kernel.series()))
    {
        tasks.push(Task {
            weight: shipped::reproducer::WEIGHT,
            run: Box::new(move || vec![shipped::reproducer::live(kernel.clone(), binaries)]),
        });
    }
    match journey::between(kernels, binaries) {
        Ok(routes) => tasks.extend(routes.into_iter().map(|route| Task {
            weight: route.weight(),
            run: Box::new(move || route.run(binaries)),
        })),
        Err(error) => tally.failed("journeys".to_owned(), &format!("{error:#}")),
    }
    tasks
}
