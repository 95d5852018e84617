//! Names of snapshot files: `ldrscope-20231114T221321Z-critical-17.json`. By its name a file is known to be ours.

use std::fmt;

/// Why a snapshot was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// SIGUSR1.
    Signal,
    /// A finding turned critical.
    Critical,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Signal, Self::Critical];

    /// The word in the file's name and in the metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Critical => "critical",
        }
    }
}

/// The name of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SnapshotName {
    /// When it was taken, for people.
    pub(super) stamp: String,
    pub(super) reason: Reason,
    /// One higher than that of the one before.
    pub(super) serial: u32,
}

const PREFIX: &str = "ldrscope-";
const SUFFIX: &str = ".json";
const TEMPORARY_SUFFIX: &str = ".tmp";

impl SnapshotName {
    /// Reads a name; `None` where it is none that [`fmt::Display`] would write.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.split('-');
        let (stamp, reason, serial) = (parts.next()?, parts.next()?, parts.next()?);
        let parsed = Self {
            stamp: Some(stamp).filter(|stamp| is_stamp(stamp))?.to_owned(),
            reason: Reason::ALL.into_iter().find(|one| one.name() == reason)?,
            serial: serial.parse().ok()?,
        };
        (parsed.to_string() == name).then_some(parsed)
    }

    /// What it is called while it is written.
    pub(super) fn temporary(&self) -> String {
        format!(".{self}{TEMPORARY_SUFFIX}")
    }

    pub(super) fn is_temporary(name: &str) -> bool {
        let inner = name
            .strip_prefix('.')
            .and_then(|name| name.strip_suffix(TEMPORARY_SUFFIX));
        inner.is_some_and(|name| Self::parse(name).is_some())
    }
}

impl fmt::Display for SnapshotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            stamp,
            reason,
            serial,
        } = self;
        write!(f, "{PREFIX}{stamp}-{}-{serial}{SUFFIX}", reason.name())
    }
}

/// Years may have more than four digits: a wall clock can be set to anything.
fn is_stamp(text: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    text.strip_suffix('Z')
        .and_then(|text| text.split_once('T'))
        .is_some_and(|(date, time)| date.len() >= 8 && time.len() == 6 && digits(date) && digits(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written_and_nothing_else_is_ours() {
        let name = SnapshotName {
            stamp: "20231114T221321Z".to_owned(),
            reason: Reason::Critical,
            serial: 17,
        };
        let text = "ldrscope-20231114T221321Z-critical-17.json";
        assert_eq!(name.to_string(), text);
        assert_eq!(SnapshotName::parse(text), Some(name.clone()));
        assert!(SnapshotName::is_temporary(&name.temporary()));
        assert_eq!(SnapshotName::parse(&name.temporary()), None);
        for foreign in [
            "",
            "ldrscope.json",
            "ldrscope-20231114T221321Z-critical-17.json.gz",
            "ldrscope-20231114T221321Z-critical-017.json",
            "ldrscope-20231114T221321Z-critical-+17.json",
            "ldrscope-20231114T221321Z-critical-4294967296.json",
            "ldrscope-20231114T221321Z-mine-17.json",
            "ldrscope-20231114T221321Z-critical-17-18.json",
            "ldrscope-yesterday-critical-17.json",
            "my-ldrscope-20231114T221321Z-critical-17.json",
        ] {
            assert_eq!(SnapshotName::parse(foreign), None, "{foreign}");
        }
    }
}
