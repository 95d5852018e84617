//! `cargo xtask soak`: what takes too long before every commit. The cases that have more to try than a test lets them, whole,
//! and those that are in no test at all, kernel by kernel, in the lanes of the test, round after round.
//!
//! Which cases those are is said in the lab crate's table of cases (`more_in_soak`, `soak_only`); what a case tries more is
//! its own business, by the scale that it is told.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use lab_protocol::Scale;

use crate::{
    build::{self, Binaries, Profile},
    kernels::{self, Kernel, MATRIX, Series},
    progress, setup,
    tally::Tally,
    test::{
        lanes::{self, Task},
        suite::{self, Suite},
    },
};

/// `cargo xtask soak`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Kernel series of the hosts, several with commas [default: all of the matrix]
    #[arg(long, value_name = "SERIES", value_delimiter = ',')]
    kernel: Vec<Series>,
    /// Only the boot of this name, such as `linux`
    #[arg(long, value_name = "BOOT")]
    boot: Option<String>,
    /// How often to run everything
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Begin rounds until so many minutes have passed, instead of counting them; the last one is run to its end
    #[arg(long, value_name = "MINUTES", conflicts_with = "rounds")]
    minutes: Option<u32>,
}

/// Runs the rounds and prints the account.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    setup::lab()?;
    let binaries = build::build(Profile::Release)?;
    let series = if arguments.kernel.is_empty() {
        &MATRIX[..]
    } else {
        &arguments.kernel
    };
    let kernels = series
        .iter()
        .map(|&series| kernels::ensure(series))
        .collect::<Result<Vec<_>>>()?;
    let began = Instant::now();
    let mut tally = Tally::default();
    for round in 1.. {
        progress::note(format_args!("soak: round {round}"));
        let tasks = tasks(&kernels, arguments.boot.as_deref(), &binaries)?;
        ensure!(
            !tasks.is_empty(),
            "no boot of these kernels has a case for a soak; `lab-case list --scale soak` lists them"
        );
        for end in lanes::run(tasks) {
            let name = format!("round {round} {}", end.name);
            tally.ended(name, end.failure, end.took);
        }
        if arguments.is_over(round, began.elapsed()) {
            break;
        }
    }
    Ok(tally.close())
}

impl Arguments {
    /// Whether `round` was the last one, so long after the first began.
    fn is_over(&self, round: u32, elapsed: Duration) -> bool {
        match self.minutes {
            Some(minutes) => elapsed >= Duration::from_secs(u64::from(minutes) * 60),
            None => round >= self.rounds,
        }
    }
}

/// The boots of one round: all, or those called `only`.
fn tasks<'a>(kernels: &[Kernel], only: Option<&str>, binaries: &'a Binaries) -> Result<Vec<Task<'a>>> {
    let mut tasks = Vec::new();
    for kernel in kernels {
        let boots = suite::boots(kernel.series(), Scale::Soak, binaries)?;
        let wanted = boots
            .into_iter()
            .filter(|boot| only.is_none_or(|name| boot.name == name));
        tasks.extend(wanted.map(|boot| Suite::alone(kernel.clone(), boot, Scale::Soak).task(binaries)));
    }
    Ok(tasks)
}

#[cfg(test)]
mod tests {
    use super::{Arguments, Duration};

    #[test]
    fn rounds_end_by_their_count_or_by_the_clock() {
        let arguments = |rounds, minutes| Arguments {
            kernel: Vec::new(),
            boot: None,
            rounds,
            minutes,
        };
        let over =
            |arguments: Arguments, round, seconds| arguments.is_over(round, Duration::from_secs(seconds));
        assert!(over(arguments(1, None), 1, 1));
        assert!(!over(arguments(2, None), 1, 9999));
        assert!(!over(arguments(1, Some(2)), 5, 119));
        assert!(over(arguments(1, Some(2)), 1, 120));
    }
}
