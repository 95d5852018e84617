//! The options of `serve`: one struct for flags and file, so that both have the same names and take the same words.
//!
//! All are optional: what a flag leaves open the file says, and what both leave open has a default, which
//! [`crate::daemon::config`] knows. Only what names the file itself cannot be in it.

mod from_file;
mod value;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Command};
use serde::Deserialize;

pub use self::value::{JournalMode, Listen, RateLimit};
use super::{EXIT_CODES, Hooks, value as shared};

const SIGNALS: &str = "\
Signals:
  SIGHUP            opens the event log anew, as after a rotation
  SIGUSR1           writes a snapshot, and what the flight recorder holds
  SIGTERM, SIGINT   end it in order

The file has the same names without the dashes: `event-log = \"/var/log/ldrscope/events.jsonl\"`, `vcpu-metrics = true`.
A flag beats the file.";

/// `serve`.
#[derive(Debug, Args)]
#[command(after_help = format!("{SIGNALS}\n\n{EXIT_CODES}"))]
pub struct Serve {
    /// Read the options that no flag sets from this file [default: /etc/ldrscope/ldrscope.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Judge file and flags, say so and end; with -v print the settings that they come to
    #[arg(long)]
    pub check_config: bool,

    /// What file and flags may say.
    #[command(flatten)]
    pub options: Options,
}

/// What flags and file may say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Options {
    /// Serve metrics for Prometheus at this address; `none` for nowhere [default: 127.0.0.1:9761]
    #[arg(long, value_name = "ADDR:PORT|none", value_parser = value::listen)]
    #[serde(deserialize_with = "from_file::listen")]
    pub listen: Option<Listen>,

    /// Write the metrics to this file, too, for node_exporter's textfile collector
    #[arg(long, value_name = "FILE")]
    pub textfile: Option<PathBuf>,

    /// How often to write that file [default: 15s]
    #[arg(long, value_name = "DURATION", value_parser = value::interval)]
    #[serde(deserialize_with = "from_file::interval")]
    pub textfile_interval: Option<Duration>,

    /// Append each event to this file as a line of JSON
    #[arg(long, value_name = "FILE")]
    pub event_log: Option<PathBuf>,

    /// Write each event to the systemd journal; `auto`: if there is one [default: auto]
    #[arg(long, value_enum)]
    #[serde(deserialize_with = "from_file::journal")]
    pub journal: Option<JournalMode>,

    /// Write snapshots into this directory, as a finding turns critical and on SIGUSR1; `none` for none
    /// [default: $STATE_DIRECTORY/snapshots if systemd set that, else none]
    #[arg(long, value_name = "DIR|none")]
    pub snapshot_dir: Option<PathBuf>,

    /// Keep this many snapshots; the oldest go first [default: 20]
    #[arg(long, value_name = "COUNT", value_parser = value::count)]
    #[serde(deserialize_with = "from_file::count")]
    pub snapshot_keep: Option<u32>,

    /// Keep snapshots of this size together; the oldest go first [default: 64MiB]
    #[arg(long, value_name = "SIZE", value_parser = value::size)]
    #[serde(deserialize_with = "from_file::size")]
    pub snapshot_max_size: Option<u64>,

    /// Keep the last of what is observed in memory, and write it into this directory as a recording for `replay`, as a
    /// finding turns critical and on SIGUSR1; `none` for no such flight recorder
    /// [default: $STATE_DIRECTORY/recordings if systemd set that, else none]
    #[arg(long, value_name = "DIR|none")]
    pub recording_dir: Option<PathBuf>,

    /// Keep this many recordings; the oldest go first [default: 20]
    #[arg(long, value_name = "COUNT", value_parser = value::count)]
    #[serde(deserialize_with = "from_file::count")]
    pub recording_keep: Option<u32>,

    /// Keep recordings of this size together; the oldest go first [default: 64MiB]
    #[arg(long, value_name = "SIZE", value_parser = value::size)]
    #[serde(deserialize_with = "from_file::size")]
    pub recording_max_size: Option<u64>,

    /// How much of what was observed is held in memory, packed; some 2 KiB a VM come on top [default: 2MiB]
    #[arg(long, value_name = "SIZE", value_parser = value::size)]
    #[serde(deserialize_with = "from_file::size")]
    pub recording_memory: Option<u64>,

    /// Serve metrics of each vCPU, too: two series a vCPU
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    pub vcpu_metrics: Option<bool>,

    /// Have the kernel time the runs of ldrscope's own programs, which costs every program on this host a little
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    pub program_stats: Option<bool>,

    /// Serve this many connections at once; more are turned away [default: 64]
    #[arg(long, value_name = "COUNT", value_parser = value::count)]
    #[serde(deserialize_with = "from_file::count")]
    pub max_connections: Option<u32>,

    /// How long a condition must hold before it is told, or told to be over: 0, 200ms, 1s [default: 200ms]
    #[arg(long, value_name = "DURATION", value_parser = shared::duration)]
    #[serde(deserialize_with = "from_file::duration")]
    pub settle: Option<Duration>,

    /// Watch only the VM with this name, UUID or process id
    #[arg(long, value_name = "NAME|UUID|PID")]
    #[serde(deserialize_with = "from_file::text")]
    pub vm: Option<String>,

    /// How many lines to tell of each VM, after a burst of 5; the rest is folded and counted; `off` for all
    /// [default: 1/s]
    #[arg(long, value_name = "COUNT/s|m|h|off", value_parser = value::rate_limit)]
    #[serde(deserialize_with = "from_file::rate_limit")]
    pub rate_limit: Option<RateLimit>,

    /// Become this user once everything is attached, if started as root
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,

    /// Do not lock the part that reads and writes into a sandbox of its own
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    pub no_sandbox: Option<bool>,

    /// Which functions of KVM to hook: cold, precise or auto (see `watch --help`) [default: auto]
    #[arg(long, value_enum, hide_possible_values = true)]
    #[serde(deserialize_with = "from_file::hooks")]
    pub hooks: Option<Hooks>,

    /// Do not prove the hooks with a VM of ldrscope's own
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    pub no_canary: Option<bool>,

    /// Use this BTF file for KVM's types in place of the kvm module's own
    #[arg(long, value_name = "FILE")]
    pub btf: Option<PathBuf>,

    /// Size of the kernel's ring buffer: a power of two from 64KiB to 256MiB [default: 1MiB]
    #[arg(long, value_name = "SIZE", value_parser = shared::ring_bytes)]
    #[serde(deserialize_with = "from_file::ring_bytes")]
    pub ring_size: Option<u32>,

    /// Let the kernel-side programs log (costly; shown with -v)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    pub bpf_log: Option<bool>,
}

impl Options {
    /// The keys that a file may have, in the order of the help.
    #[must_use]
    pub fn keys() -> Vec<String> {
        Self::augment_args(Command::new(""))
            .get_arguments()
            .filter_map(|argument| argument.get_long().map(str::to_owned))
            .collect()
    }
}
