//! Names of files: `ldrscope-20231114T221321Z-critical-17.json`. By its name a file is known to be ours.

use std::fmt;

/// What is in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The host as it is.
    Snapshot,
    /// What was observed of it until then.
    Recording,
}

impl Kind {
    /// What it is called, also in the names of the settings about it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Recording => "recording",
        }
    }

    const fn suffix(self) -> &'static str {
        match self {
            Self::Snapshot => ".json",
            Self::Recording => ".ldrrec",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why a file was written.
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

/// The name of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) kind: Kind,
    /// When it was taken, for people.
    pub(super) stamp: String,
    pub(super) reason: Reason,
    /// One higher than that of the one before.
    pub(super) serial: u32,
}

const PREFIX: &str = "ldrscope-";
const TEMPORARY_SUFFIX: &str = ".tmp";

impl Name {
    /// Reads a name; `None` where it is none that [`fmt::Display`] would write.
    pub(super) fn parse(kind: Kind, name: &str) -> Option<Self> {
        let inner = name.strip_prefix(PREFIX)?.strip_suffix(kind.suffix())?;
        let mut parts = inner.split('-');
        let (stamp, reason, serial) = (parts.next()?, parts.next()?, parts.next()?);
        let parsed = Self {
            kind,
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

    pub(super) fn is_temporary(kind: Kind, name: &str) -> bool {
        let inner = name
            .strip_prefix('.')
            .and_then(|name| name.strip_suffix(TEMPORARY_SUFFIX));
        inner.is_some_and(|name| Self::parse(kind, name).is_some())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            stamp,
            reason,
            serial,
        } = self;
        write!(f, "{PREFIX}{stamp}-{}-{serial}{}", reason.name(), kind.suffix())
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
        let name = Name {
            kind: Kind::Snapshot,
            stamp: "20231114T221321Z".to_owned(),
            reason: Reason::Critical,
            serial: 17,
        };
        let text = "ldrscope-20231114T221321Z-critical-17.json";
        assert_eq!(name.to_string(), text);
        assert_eq!(Name::parse(Kind::Snapshot, text), Some(name.clone()));
        assert!(Name::is_temporary(Kind::Snapshot, &name.temporary()));
        assert_eq!(Name::parse(Kind::Recording, text), None);
        assert_eq!(Name::parse(Kind::Snapshot, &name.temporary()), None);
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
            assert_eq!(Name::parse(Kind::Snapshot, foreign), None, "{foreign}");
        }
    }
}
