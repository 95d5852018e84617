//! The lines that PID 1 sends: one word, then what belongs to it.
//!
//! A line that is none of these is not an error of the reader: it is passed over, so that a newer PID 1 may say more.

use std::{fmt, str::FromStr};

/// One line of PID 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The userland stands, KVM is loaded as ordered, the command starts now.
    Booted,
    /// The command ended by itself with this status, 0 to 255.
    Exited(u8),
    /// The command was ended by this signal.
    Signalled(u8),
    /// PID 1 could not do what the order said; the sentence says what.
    Failed(String),
    /// The kernel still schedules.
    Alive,
}

/// A line that is no [`Report`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a line of the lab's PID 1: {0:?}")]
pub struct UnknownReport(pub String);

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Booted => write!(formatter, "booted"),
            Self::Exited(status) => write!(formatter, "exit {status}"),
            Self::Signalled(signal) => write!(formatter, "signal {signal}"),
            Self::Failed(sentence) => write!(formatter, "failed {}", sentence.replace(['\n', '\r'], " ")),
            Self::Alive => write!(formatter, "alive"),
        }
    }
}

impl FromStr for Report {
    type Err = UnknownReport;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownReport(line.to_owned());
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "booted" => Ok(Self::Booted),
            "exit" => rest.parse().map(Self::Exited).map_err(|_| unknown()),
            "signal" => rest.parse().map(Self::Signalled).map_err(|_| unknown()),
            "failed" => Ok(Self::Failed(rest.to_owned())),
            "alive" => Ok(Self::Alive),
            _ => Err(unknown()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_report_reads_back() {
        for report in [
            Report::Booted,
            Report::Exited(7),
            Report::Signalled(9),
            Report::Failed("/lab.json is not an order".into()),
            Report::Alive,
        ] {
            assert_eq!(report.to_string().parse(), Ok(report));
        }
    }

    #[test]
    fn a_failure_stays_on_one_line() {
        assert_eq!(Report::Failed("a\nb".into()).to_string(), "failed a b");
    }

    #[test]
    fn other_lines_are_refused() {
        assert!("exit".parse::<Report>().is_err());
        assert!("exit 300".parse::<Report>().is_err());
        assert!("case x start".parse::<Report>().is_err());
    }
}
