//! `lab-case`: runs the lab's cases, its demo, or one guest to look at. Only the command line is here; see the
//! library for everything that it starts.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use lab::bench::{self, Observer, Path};
use lab::cases::{boots_for, cases_for, cases_on, journeys};
use lab::exhibit::{self, Kind};
use lab::host::{MapRules, Series};
use lab::load::{self, Load};
use lab::measure;
use lab::{demo, oracle, suite};
use lab_protocol::boot::PLAIN;
use lab_protocol::{KvmBuild, Scale, Seed};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Guests and cases for trying ldrscope on a real KVM host; run it inside the lab.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Print the boots that a kernel must run, each with its machine and its cases, one JSON object a line
    List {
        /// Kernel series, such as 6.12
        #[arg(long)]
        kernel: Series,
        /// Those of a test or of a soak
        #[arg(long, default_value_t)]
        scale: Scale,
    },
    /// Print the journeys between kernels, each with its boots in order, one JSON object a line
    Journeys,
    /// Run a boot's cases, reporting to $LAB_RESULTS or stdout
    Suite {
        /// Kernel series [default: the running kernel's]
        #[arg(long)]
        kernel: Option<Series>,
        /// The boot whose cases to run; the machine must stand as `list` says
        #[arg(long, default_value = PLAIN)]
        boot: String,
        /// How much each of them tries
        #[arg(long, default_value_t)]
        scale: Scale,
        /// Only cases whose name contains this
        #[arg(long)]
        only: Option<String>,
    },
    /// Run these cases here and now, reporting to stdout
    Run {
        /// The boot that they are to find; by default the first that has them
        #[arg(long)]
        boot: Option<String>,
        /// How much each of them tries
        #[arg(long, default_value_t)]
        scale: Scale,
        /// Their full names, such as cluster/cold
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Try random register states and hold what ldrscope says against what KVM does
    Oracle {
        /// How many states
        #[arg(long, default_value_t = 1000)]
        states: u64,
        /// Which ones
        #[arg(long)]
        seed: Seed,
        /// The build of KVM that this host runs
        #[arg(long, default_value_t)]
        kvm: KvmBuild,
        /// Try every state with all kinds of destinations, not one batch in four
        #[arg(long)]
        thorough: bool,
        /// Put a fault into the facts, to see that it is found
        #[arg(long, hide = true)]
        plant: bool,
    },
    /// Count what watching costs guests, in a lab that counts instructions
    Bench {
        /// How often all of it
        #[arg(long, default_value_t = 3)]
        rounds: u32,
        /// Only these paths, such as eoi or ldr
        #[arg(long, value_delimiter = ',')]
        only: Vec<String>,
        /// What stands beside nothing at all [default: obvious, cold, precise, and bpftrace where it is installed]
        #[arg(long, value_enum, value_delimiter = ',')]
        observers: Vec<Observer>,
    },
    /// Measure what ldrscope itself takes, a line of JSON for each figure
    Measure {
        /// What to measure
        #[command(subcommand)]
        what: measure::What,
    },
    /// Show the 2019 failure beside what ldrscope says about it
    Demo,
    /// Run a guest and hold it until stdin ends
    Guest {
        /// What kind of guest
        kind: Kind,
        /// Number of vCPUs, where the kind leaves it open
        #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=255))]
        vcpus: u32,
        /// Seconds between the steps of its story
        #[arg(long, default_value_t = 0)]
        pause: u64,
        /// Arguments that mean nothing to it, for a process that looks like another program's
        #[arg(last = true)]
        looks: Vec<OsString>,
    },
    /// Run guests that keep KVM busy, by the orders on stdin: start, stop, finish
    Load {
        #[command(flatten)]
        load: Load,
        /// Ignored here: what the process's command line is to say
        #[arg(last = true, hide = true, allow_hyphen_values = true)]
        _said: Vec<OsString>,
    },
    /// Run a command in a new pid namespace
    #[command(hide = true)]
    InPidNamespace {
        /// The command and its arguments
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().verb) {
        Ok(code) => code,
        Err(error) => {
            // Nothing is left to do if stderr is closed.
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::List { kernel, scale } => {
            for boot in boots_for(kernel, scale) {
                writeln!(io::stdout(), "{}", boot.to_line()?)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Verb::Journeys => {
            for journey in journeys() {
                writeln!(io::stdout(), "{}", journey.to_line()?)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Verb::Suite {
            kernel,
            boot,
            scale,
            only,
        } => {
            let kernel = kernel.map_or_else(Series::running, Ok)?;
            let mut cases = cases_for(kernel, &boot, scale);
            cases.retain(|case| only.as_ref().is_none_or(|part| case.name.contains(part)));
            let mut results = suite::results().context("cannot open the results channel")?;
            Ok(exit_code(suite::run(&cases, &boot, scale, &mut *results)?))
        }
        Verb::Run { boot, scale, names } => run_cases(boot.as_deref(), scale, &names),
        Verb::Oracle {
            states,
            seed,
            kvm,
            thorough,
            plant,
        } => {
            allow_many_files()?;
            let plan = oracle::Plan {
                states,
                seed,
                rules: MapRules::of(Series::running()?, kvm),
                thorough,
                planted: plant,
            };
            let outcome = oracle::run(&plan, &mut io::stderr().lock())?;
            writeln!(io::stdout(), "{outcome}")?;
            Ok(exit_code(usize::from(!outcome.agrees())))
        }
        Verb::Bench {
            rounds,
            only,
            observers,
        } => {
            allow_many_files()?;
            let mut paths = Path::all();
            if !only.is_empty() {
                paths.extend([Path::Logical, Path::LogicalMsi]);
            }
            paths.retain(|path| only.is_empty() || only.iter().any(|name| name == path.name()));
            let plan = bench::Plan {
                rounds,
                paths,
                observers: if observers.is_empty() {
                    Observer::usual()
                } else {
                    observers
                },
            };
            bench::run(&plan, &mut io::stdout().lock())?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Measure { what } => {
            allow_many_files()?;
            measure::run(&what, &mut io::stdout().lock())?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Demo => {
            let as_expected = demo::run(&mut io::stdout().lock())?;
            Ok(if as_expected {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        Verb::Guest {
            kind, vcpus, pause, ..
        } => {
            exhibit::show(kind, vcpus, Duration::from_secs(pause), &mut io::stdout().lock())?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Load { load, .. } => {
            load::run(&load, &mut io::stdin().lock(), &mut io::stdout().lock())?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::InPidNamespace { command } => in_pid_namespace(&command),
    }
}

fn run_cases(boot: Option<&str>, scale: Scale, names: &[String]) -> anyhow::Result<ExitCode> {
    let kernel = Series::running()?;
    let all = match boot {
        Some(boot) => cases_for(kernel, boot, scale),
        None => cases_on(kernel, scale),
    };
    let find = |name: &String| {
        all.iter().find(|case| case.name == *name).with_context(|| {
            format!("this host has no case {name}; `lab-case list --kernel SERIES` names them")
        })
    };
    let cases = names.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    allow_many_files()?;
    Ok(exit_code(suite::work(&cases, &mut io::stdout())?))
}

fn exit_code(failed: usize) -> ExitCode {
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// A vCPU is a file: the default limit of 1,024 is too few for the large cases.
fn allow_many_files() -> anyhow::Result<()> {
    const FILES: u64 = 16_384;
    let limit = Rlimit {
        current: Some(FILES),
        maximum: Some(FILES),
    };
    setrlimit(Resource::Nofile, limit).context("cannot raise the limit of open files; run as root")
}

fn in_pid_namespace(command: &[String]) -> anyhow::Result<ExitCode> {
    // SAFETY: NEWPID changes nothing about this process, only where its future children live; no memory or
    // descriptor table is unshared.
    unsafe { unshare_unsafe(UnshareFlags::NEWPID) }.context("cannot make a pid namespace; run as root")?;
    let (program, arguments) = command.split_first().context("a command is missing")?;
    let status = Command::new(program)
        .args(arguments)
        .status()
        .with_context(|| format!("cannot run {program}"))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
