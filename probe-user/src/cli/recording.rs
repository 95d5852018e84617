//! Arguments about recordings: making one, playing it, and looking at one in place of the host.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use jiff::SignedDuration;
use probe_apic::map_rules::MapRules;

use super::{EXIT_CODES, Observe, WatchFormat, value};
use crate::tape::Moment;

const RECORD_EXAMPLES: &str = "\
Examples:
  sudo ldrscope record                                 until Ctrl-C, into a file named by the time
  sudo ldrscope record --vm web --duration 5m -o web.ldrrec
  sudo ldrscope record --anonymise -o shared.ldrrec    names, ids and comms replaced by pseudonyms
  ssh host sudo ldrscope record -o - | ldrscope replay -

";

const REPLAY_EXAMPLES: &str = "\
Examples:
  ldrscope replay web.ldrrec                           what `watch` would have said, at once
  ldrscope replay web.ldrrec --speed original          the same, in its own time
  ldrscope replay web.ldrrec --format jsonl | jq .finding.summary
  ldrscope replay web.ldrrec --as-kvm 6.12             what would have been said on a host with that kernel
  ldrscope snapshot --from web.ldrrec --at 90s         registers and maps 90 s after its beginning

";

/// `record`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES, after_long_help = format!("{RECORD_EXAMPLES}{EXIT_CODES}"))]
pub struct Record {
    /// Write into this file, which must not exist yet; `-` for the standard output
    /// [default: ldrscope-YYYYMMDDTHHMMSSZ.ldrrec]
    #[arg(short, long, value_name = "FILE|-")]
    pub output: Option<PathBuf>,

    /// Stop after this time
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
    pub duration: Option<Duration>,

    /// Record only the VM with this name, UUID or process id
    #[arg(long, value_name = "NAME|UUID|PID")]
    pub vm: Option<String>,

    /// Replace names, UUIDs, process ids and comms by pseudonyms, the same ones throughout the file; registers, times and the
    /// kernel's release stay
    #[arg(long)]
    pub anonymise: bool,

    /// Count the interrupts that are sent to logical destinations as well, as `watch --interrupts` does. An ldrscope that does not
    /// know of it refuses such a recording
    #[arg(long)]
    pub interrupts: bool,

    /// How long a condition must hold before `replay` tells it, unless that is told otherwise: 0, 200ms, 1s
    #[arg(long, value_name = "DURATION", default_value = "200ms", value_parser = value::duration)]
    pub settle: Duration,

    /// Wait for the kvm module to be loaded
    #[arg(long)]
    pub wait: bool,

    /// How to observe.
    #[command(flatten)]
    pub observe: Observe,
}

/// `replay`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES, after_long_help = format!("{REPLAY_EXAMPLES}{EXIT_CODES}"))]
pub struct Replay {
    /// The recording; `-` for the standard input
    #[arg(value_name = "FILE|-")]
    pub file: PathBuf,

    /// How fast: `original`, `max`, or a number of times as fast, such as 10x
    #[arg(long, value_name = "original|max|Nx", default_value = "max", value_parser = speed)]
    pub speed: Speed,

    /// How to print
    #[arg(long, value_enum, default_value_t = WatchFormat::Text)]
    pub format: WatchFormat,

    /// Tell only of the VM with this name, UUID or process id
    #[arg(long, value_name = "NAME|UUID|PID")]
    pub vm: Option<String>,

    /// Judge as another KVM would that had the same registers: by map rules (keep-disabled, overwrite, conflict-disables)
    /// or a mainline version such as 6.1
    #[arg(long, value_name = "RULES|VERSION")]
    pub as_kvm: Option<MapRules>,

    /// How long a condition must hold before it is told, or told to be over [default: as when it was recorded]
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
    pub settle: Option<Duration>,
}

/// Where the verbs that look once look.
#[derive(Debug, Args)]
pub struct Place {
    /// Look at this recording in place of the host, as it was at its end; `-` for the standard input. Needs no privileges
    #[arg(
        long,
        value_name = "FILE|-",
        conflicts_with_all = ["hooks", "no_canary", "btf", "ring_size", "bpf_log"]
    )]
    pub from: Option<PathBuf>,

    /// With --from: as it was at this moment, RFC 3339 or a time since its beginning, such as 90s
    #[arg(long, value_name = "TIME", requires = "from", value_parser = moment)]
    pub at: Option<Moment>,

    /// How to observe.
    #[command(flatten)]
    pub observe: Observe,
}

/// How fast a recording is played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// As fast as it can be analysed.
    Max,
    /// So many times as fast as it was; 1 is the original speed.
    Times(f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadValue {
    #[error("not a speed; write original, max, or a number of times from 0.01x to 10000x")]
    Speed,
    #[error("not a moment; write for example 2026-03-01T12:00:00Z, or 90s for 90 s after the beginning")]
    Moment,
}

pub(super) fn speed(text: &str) -> Result<Speed, BadValue> {
    match text {
        "max" => return Ok(Speed::Max),
        "original" => return Ok(Speed::Times(1.0)),
        _ => {}
    }
    let times = text.strip_suffix('x').and_then(|times| times.parse::<f64>().ok());
    times
        .filter(|times| (0.01..=10_000.0).contains(times))
        .map(Speed::Times)
        .ok_or(BadValue::Speed)
}

pub(super) fn moment(text: &str) -> Result<Moment, BadValue> {
    if let Ok(wall) = text.parse() {
        return Ok(Moment::Wall(wall));
    }
    let since: SignedDuration = text.parse().map_err(|_| BadValue::Moment)?;
    Duration::try_from(since)
        .map(Moment::After)
        .map_err(|_| BadValue::Moment)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn speeds_are_words_or_times() {
        assert_eq!(speed("max"), Ok(Speed::Max));
        assert_eq!(speed("original"), Ok(Speed::Times(1.0)));
        assert_eq!(speed("2.5x"), Ok(Speed::Times(2.5)));
        for bad in ["", "fast", "2", "0x", "-1x", "nanx", "infx", "20000x"] {
            assert_eq!(speed(bad), Err(BadValue::Speed), "{bad}");
        }
    }

    #[test]
    fn moments_are_wall_times_or_times_since_the_beginning() {
        assert_eq!(moment("90s"), Ok(Moment::After(Duration::from_secs(90))));
        let wall = moment("2026-03-01T12:00:00.5Z");
        assert_eq!(
            wall,
            Ok(Moment::Wall(
                Timestamp::from_millisecond(1_772_366_400_500).unwrap()
            ))
        );
        for bad in ["", "noon", "-5s", "2026-03-01"] {
            assert_eq!(moment(bad), Err(BadValue::Moment), "{bad}");
        }
    }
}
