//! `diff`: its arguments.

use clap::{Args, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  sudo ldrscope snapshot --format json > before.json
  sudo ldrscope snapshot --format json | ldrscope diff before.json -
  ldrscope diff --vm web --format json before.json after.json
  ldrscope diff --exit-code before.json after.json > /dev/null || echo different

A VM is found again by its UUID; else by process id, name and VMM; else by name and VMM, if those are nobody else's.
It needs no privileges and looks at nothing but the files.";

const EXIT_CODES: &str = "\
Exit codes:
  0  done, whether or not anything differs
  1  with --exit-code: something differs
  2  wrong usage, something that is no snapshot, or --vm names no VM
  3  the standard output cannot be written";

/// `diff`.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub struct Diff {
    /// The first snapshot, as `ldrscope snapshot --format json` or the daemon wrote it; `-` for the standard input
    #[arg(value_name = "BEFORE")]
    pub before: String,

    /// The second; `-` for the standard input
    #[arg(value_name = "AFTER")]
    pub after: String,

    /// How to print
    #[arg(long, value_enum, default_value_t = DiffFormat::Text)]
    pub format: DiffFormat,

    /// Compare only the VM with this name, UUID or process id, in either snapshot
    #[arg(long, value_name = "NAME|UUID|PID")]
    pub vm: Option<String>,

    /// Exit with 1 if anything differs
    #[arg(long)]
    pub exit_code: bool,
}

/// How `diff` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DiffFormat {
    /// Lines for people
    Text,
    /// One JSON document
    Json,
}
