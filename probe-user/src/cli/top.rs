//! The arguments of `top`.

use std::{fmt, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use probe_apic::map_rules::MapRules;

use super::{
    EXIT_CODES, Observe, Speed,
    recording::{moment, speed},
    value,
};
use crate::tape::Moment;

/// How long a condition must hold to be told, where nothing else is said.
pub const DEFAULT_SETTLE: Duration = Duration::from_millis(200);

const EXAMPLES: &str = "\
Examples:
  sudo ldrscope top                                    every VM of this host, the worst first
  sudo ldrscope top --vm web
  ssh -t host sudo ldrscope top                        over ssh, which makes a terminal with -t
  ldrscope top --from web.ldrrec                       a recording in its own time; Space stops it
  ldrscope top --from web.ldrrec --at 90s              standing still 90 s after its beginning
  NO_COLOR=1 ldrscope top --from web.ldrrec            without colour, as with --color never

Keys: ? shows them. q ends it.

";

/// `top`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES, after_long_help = format!("{EXAMPLES}{EXIT_CODES}"))]
pub struct Top {
    /// Show this recording in place of the host; needs no privileges
    #[arg(
        long,
        value_name = "FILE",
        value_parser = file,
        conflicts_with_all = ["wait", "hooks", "no_canary", "btf", "ring_size", "bpf_log"]
    )]
    pub from: Option<PathBuf>,

    /// With --from: how fast, `original`, `max`, or a number of times as fast, such as 10x
    #[arg(long, value_name = "original|max|Nx", default_value = "original", requires = "from", value_parser = speed)]
    pub speed: Speed,

    /// With --from: begin at this moment, RFC 3339 or a time since its beginning, such as 90s, and stand still there; Space
    /// goes on
    #[arg(long, value_name = "TIME", requires = "from", value_parser = moment)]
    pub at: Option<Moment>,

    /// With --from: judge as another KVM would that had the same registers: by map rules (keep-disabled, overwrite,
    /// conflict-disables) or a mainline version such as 6.1
    #[arg(long, value_name = "RULES|VERSION", requires = "from")]
    pub as_kvm: Option<MapRules>,

    /// Show only the VM with this name, UUID or process id
    #[arg(long, value_name = "NAME|UUID|PID")]
    pub vm: Option<String>,

    /// How long a condition must hold before it is shown, or is gone: 0, 200ms, 1s [default: 200ms, or as it was recorded]
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
    pub settle: Option<Duration>,

    /// Wait for the kvm module to be loaded
    #[arg(long)]
    pub wait: bool,

    /// Where the key S writes snapshots
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub snapshot_dir: PathBuf,

    /// Whether to use colours; `auto` does unless NO_COLOR is set
    #[arg(long, value_enum, default_value_t = Colour::Auto, value_name = "WHEN")]
    pub color: Colour,

    /// How to observe.
    #[command(flatten)]
    pub observe: Observe,
}

/// `--color`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// Unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never; bold, dim and reversed text stay
    Never,
}

/// The standard input has the keys.
fn file(text: &str) -> Result<PathBuf, NotAFile> {
    if text == "-" {
        Err(NotAFile)
    } else {
        Ok(text.into())
    }
}

#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the standard input has the keys; put the recording in a file")]
struct NotAFile;

/// As it is written.
impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Max => f.write_str("max"),
            Self::Times(1.0) => f.write_str("original"),
            Self::Times(times) => write!(f, "{times}x"),
        }
    }
}
