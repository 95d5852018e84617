//! The lines that a test suite in the lab sends about its cases.
//!
//! `case NAME start`, then one of `case NAME passed MILLISECONDS`, `case NAME failed REASON`, `case NAME skipped REASON`, where a
//! reason is a JSON string; `suite done` after the last case. A suite that dies leaves a started case without a verdict, and that
//! is a failure.

use std::{fmt, str::FromStr};

/// One line of a test suite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaseLine {
    /// This case runs now.
    Started(String),
    /// This case ended.
    Ended(String, Verdict),
    /// All cases of the suite have ended.
    SuiteDone,
}

/// How a case ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// As expected, after this many milliseconds of the lab's clock.
    Passed(u64),
    /// Not as expected; this is why, in any number of lines.
    Failed(String),
    /// Not run, and why.
    Skipped(String),
}

/// A line that is no [`CaseLine`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a line of a test suite: {0:?}")]
pub struct UnknownCaseLine(pub String);

/// A reason as one line.
fn quoted(reason: &str) -> serde_json::Value {
    reason.into()
}

impl fmt::Display for CaseLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started(name) => write!(formatter, "case {name} start"),
            Self::Ended(name, Verdict::Passed(millis)) => write!(formatter, "case {name} passed {millis}"),
            Self::Ended(name, Verdict::Failed(reason)) => {
                write!(formatter, "case {name} failed {}", quoted(reason))
            }
            Self::Ended(name, Verdict::Skipped(reason)) => {
                write!(formatter, "case {name} skipped {}", quoted(reason))
            }
            Self::SuiteDone => write!(formatter, "suite done"),
        }
    }
}

impl FromStr for CaseLine {
    type Err = UnknownCaseLine;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownCaseLine(line.to_owned());
        if line == "suite done" {
            return Ok(Self::SuiteDone);
        }
        let mut words = line.splitn(4, ' ');
        let (Some("case"), Some(name), Some(verb)) = (words.next(), words.next(), words.next()) else {
            return Err(unknown());
        };
        let rest = words.next().unwrap_or("");
        let name = name.to_owned();
        let reason = || serde_json::from_str(rest).map_err(|_| unknown());
        match verb {
            "start" => Ok(Self::Started(name)),
            "passed" => rest
                .parse()
                .map(|millis| Self::Ended(name, Verdict::Passed(millis)))
                .map_err(|_| unknown()),
            "failed" => Ok(Self::Ended(name, Verdict::Failed(reason()?))),
            "skipped" => Ok(Self::Ended(name, Verdict::Skipped(reason()?))),
            _ => Err(unknown()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_reads_back() {
        for line in [
            CaseLine::Started("kdump".into()),
            CaseLine::Ended("kdump".into(), Verdict::Passed(1234)),
            CaseLine::Ended(
                "kdump".into(),
                Verdict::Failed("no finding on slot 0; what came:\n  \\\r\n\"\n".into()),
            ),
            CaseLine::Ended("kdump".into(), Verdict::Skipped("needs two CPUs".into())),
            CaseLine::SuiteDone,
        ] {
            let sent = line.to_string();
            assert!(!sent.contains('\n'), "{sent:?}");
            assert_eq!(sent.parse(), Ok(line));
        }
    }

    #[test]
    fn other_lines_are_refused() {
        for line in [
            "",
            "case",
            "case kdump",
            "case kdump passed soon",
            "case kdump failed for no reason",
            "suite",
            "booted",
        ] {
            assert!(line.parse::<CaseLine>().is_err(), "{line:?}");
        }
    }
}
