//! The command line: clap types and the parsers of their values, nothing else.

mod check;
mod diff;
mod explain;
mod print;
mod recording;
mod reproduce;
mod serve;
mod shared;
mod top;
mod value;

use std::{path::PathBuf, time::Duration};

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use log::LevelFilter;

pub use check::Check;
pub use diff::{Diff, DiffFormat};
pub use explain::{Explain, ExplainFormat};
pub use print::{Print, What};
pub use recording::{Place, Record, Replay, Speed};
pub use reproduce::Reproduce;
pub use serve::{JournalMode, Listen, Options, RateLimit, Serve};
pub use shared::{Hooks, Observe, Subject};
pub use top::{Colour, DEFAULT_SETTLE, Top};
pub use value::Destinations;

const EXIT_CODES: &str = "\
Exit codes:
  0  done (also after SIGINT or SIGTERM, and when the reader closes the pipe)
  2  wrong usage or configuration, or --vm names no VM
  3  could not look; stderr says why as `error[word]: ...`, with a remedy";

const NOT_MODELLED: &str = "\
Verdicts: ok; slow (right, but KVM scans all vCPUs); lost (nobody gets it); partial (some of those who should);
misrouted (somebody who should not). Of lowest priority any one of those who should get it is ok.
Modelled are edge-triggered interrupts of IOAPIC pins and MSIs. Not modelled: AVIC's own logical table, MSIs that
hardware posts to a vCPU without KVM, the redirection hint of an MSI, and what one vCPU sends another.";

const EXAMPLES: &str = "\
Examples:
  sudo ldrscope watch                        findings of every VM, as they come and go
  sudo ldrscope watch --vm web --format jsonl | jq .finding.summary
  sudo ldrscope top                          the same live, full screen
  sudo ldrscope snapshot                     every VM's registers, maps and findings, once
  sudo ldrscope snapshot --as-kvm 6.12       the same, as a host with that kernel would judge it
  sudo ldrscope snapshot --format html > host.html
  sudo ldrscope deliver --vm web --only-bad  destinations that do not reach whom they should
  sudo ldrscope check                        one line for Nagios, Icinga and the like
  sudo ldrscope record -o web.ldrrec         the same into a file, to be looked at elsewhere
  ldrscope replay web.ldrrec                 what `watch` would have said
  ldrscope diff before.json after.json       what changed between two snapshots
  ldrscope reproduce --from before.json      a program for the mailing list: the same state in a fresh VM
  ldrscope explain ldr-collision             what such a finding means, and what to do
  sudo ldrscope doctor                       what this host allows, and what to do about the rest

";

const SNAPSHOT_EXAMPLES: &str = "\
Examples:
  sudo ldrscope snapshot --vm web
  sudo ldrscope snapshot --format json > host.json     for `ldrscope diff`, and for programs
  sudo ldrscope snapshot --format html > host.html     for a ticket
  sudo ldrscope snapshot --as-kvm 6.12                 before a live migration to a host with that kernel";

/// Watches KVM's local-APIC destination maps on this host: which interrupts cannot arrive, why, since when, and
/// who wrote the register.
///
/// It needs no help from the guest, the VMM or debug info. Results go to stdout, logs to stderr.
#[derive(Debug, Parser)]
#[command(name = "ldrscope", version, after_help = EXIT_CODES, after_long_help = format!("{EXAMPLES}{EXIT_CODES}"))]
pub struct Cli {
    /// Log more on stderr; twice for everything
    #[arg(short, long, action = ArgAction::Count, global = true, conflicts_with = "quiet")]
    verbose: u8,

    /// Log errors only
    #[arg(short, long, global = true)]
    quiet: bool,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// How much is logged.
    #[must_use]
    pub const fn log_level(&self) -> LevelFilter {
        match (self.quiet, self.verbose) {
            (true, _) => LevelFilter::Error,
            (false, 0) => LevelFilter::Info,
            (false, 1) => LevelFilter::Debug,
            (false, _) => LevelFilter::Trace,
        }
    }
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print findings as they are raised, changed and cleared
    Watch(Watch),
    /// Print every VM's registers, published and rebuilt map, and findings, once
    Snapshot(Snapshot),
    /// Print for each destination which vCPUs should get an interrupt, and which do
    Deliver(Deliver),
    /// Show the same live, full screen: VMs, maps, vCPUs, findings, timeline; also of a recording
    Top(Box<Top>),
    /// Observe, and write what was observed into a file
    Record(Record),
    /// Tell what `watch` would have told of a recording; needs no privileges
    Replay(Replay),
    /// Print a program in C that puts a fresh VM into the state of a snapshot or recording, and sends the interrupt
    Reproduce(Reproduce),
    /// Watch for good, as a daemon: journal, event log, metrics for Prometheus, snapshots, recordings
    Serve(Box<Serve>),
    /// Print one line for a monitoring system, and exit 0 (OK), 1 (WARNING), 2 (CRITICAL) or 3 (UNKNOWN)
    Check(Check),
    /// Compare two snapshots: registers, maps and findings
    Diff(Diff),
    /// Tell what a finding means: its story, what each KVM makes of it, what to do
    Explain(Explain),
    /// Print what this host allows: kernel, types, symbols, capabilities, lockdown, KVM
    Doctor(Doctor),
    /// Print manual pages and completions, for packages
    #[command(hide = true)]
    Print(Print),
}

/// `watch`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct Watch {
    /// How to print
    #[arg(long, value_enum, default_value_t = WatchFormat::Text)]
    pub format: WatchFormat,

    /// How long a condition must hold before it is told, or told to be over: 0, 200ms, 1s
    #[arg(long, value_name = "DURATION", default_value = "200ms", value_parser = value::duration)]
    pub settle: Duration,

    /// Watch only the VM with this name, UUID or process id
    #[arg(long, value_name = "NAME|UUID|PID")]
    pub vm: Option<String>,

    /// Count the interrupts that are sent to logical destinations, and tell of those that go astray (interrupt-lost,
    /// interrupt-misrouted). Each of them costs its guest some time; above 10,000 a second the rest of a CPU's are not counted
    #[arg(long)]
    pub interrupts: bool,

    /// Wait for the kvm module to be loaded
    #[arg(long)]
    pub wait: bool,

    /// Stop after this time
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
    pub duration: Option<Duration>,

    /// Write what is observed into this file as well, which must not exist yet: `replay` tells the same of it
    #[arg(long, value_name = "FILE", value_parser = value::file)]
    pub record: Option<PathBuf>,

    /// How to observe.
    #[command(flatten)]
    pub observe: Observe,
}

/// `snapshot`.
#[derive(Debug, Args)]
#[command(after_help = format!("{SNAPSHOT_EXAMPLES}\n\n{EXIT_CODES}"))]
pub struct Snapshot {
    /// How to print
    #[arg(long, value_enum, default_value_t = SnapshotFormat::Table)]
    pub format: SnapshotFormat,

    /// Which VMs, and by whose rules.
    #[command(flatten)]
    pub subject: Subject,

    /// Where to look, and how.
    #[command(flatten)]
    pub place: Place,
}

/// `deliver`.
#[derive(Debug, Args)]
#[command(after_help = format!("{NOT_MODELLED}\n\n{EXIT_CODES}"))]
pub struct Deliver {
    /// How to print
    #[arg(long, value_enum, default_value_t = DeliverFormat::Table)]
    pub format: DeliverFormat,

    /// Which VMs, and by whose rules.
    #[command(flatten)]
    pub subject: Subject,

    /// Show these destinations, decimal or 0x...: N, N-M, or a list with commas; logical ones above 255 are those of
    /// x2APICs (cluster in bits 31:16) [default: 0-255]
    #[arg(long, value_name = "LIST", value_parser = value::destinations)]
    pub dest: Option<Destinations>,

    /// Show physical destinations (APIC IDs) instead of logical ones
    #[arg(long)]
    pub physical: bool,

    /// Show interrupts of this vector (decimal or 0x...) with lowest priority, of which one of the vCPUs named gets
    /// each, instead of fixed ones
    #[arg(long, value_name = "VECTOR", value_parser = value::vector)]
    pub lowest_priority: Option<u8>,

    /// Show only destinations whose verdict is not `ok`
    #[arg(long)]
    pub only_bad: bool,

    /// Where to look, and how.
    #[command(flatten)]
    pub place: Place,
}

/// `doctor`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct Doctor {
    /// How to print
    #[arg(long, value_enum, default_value_t = DoctorFormat::Text)]
    pub format: DoctorFormat,

    /// Look at this BTF file in place of the kvm module's own
    #[arg(long, value_name = "FILE")]
    pub btf: Option<PathBuf>,
}

/// How `watch` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WatchFormat {
    /// Lines for people
    Text,
    /// One JSON document a line
    Jsonl,
}

/// How `snapshot` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SnapshotFormat {
    /// Tables for people
    Table,
    /// One JSON document
    Json,
    /// One page with pictures, for a ticket: it needs no network and no script
    Html,
}

/// How `deliver` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DeliverFormat {
    /// Destinations with the same vCPUs share a row
    Table,
    /// One JSON document a line, one VM each
    Json,
}

/// How `doctor` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DoctorFormat {
    /// Lines for people
    Text,
    /// One JSON document
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn quiet_and_verbose_exclude_each_other() {
        let level = |arguments: &[&str]| Cli::try_parse_from(arguments).map(|cli| cli.log_level());
        assert_eq!(level(&["ldrscope", "doctor"]).unwrap(), LevelFilter::Info);
        assert_eq!(level(&["ldrscope", "doctor", "-vv"]).unwrap(), LevelFilter::Trace);
        assert_eq!(level(&["ldrscope", "-q", "doctor"]).unwrap(), LevelFilter::Error);
        assert!(level(&["ldrscope", "-q", "-v", "doctor"]).is_err());
    }
}
