//! What can go wrong with a recording, with its words and remedies.

use std::{io, path::PathBuf};

/// Why a recording cannot be made or played.
#[derive(Debug, thiserror::Error)]
pub enum TapeError {
    /// Its file cannot be made.
    #[error("the recording {path} cannot be made", path = path.display())]
    Create {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be written any more.
    #[error("the recording {path} cannot be written; what was written before can be replayed", path = path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Bytes would go to a screen.
    #[error("a recording is not text, and standard output is a terminal")]
    Terminal,
    /// There is no such file, or it may not be read.
    #[error("the recording {path} cannot be opened", path = path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be read, or not to its end.
    #[error("{path} cannot be replayed{}", if *.in_part { " from here on" } else { "" }, path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Whether something of it could.
        in_part: bool,
        /// Why.
        source: recording::Error,
    },
    /// It was cut before it said anything.
    #[error("the recording {path} was cut before anything was recorded", path = path.display())]
    Nothing {
        /// Which.
        path: PathBuf,
    },
    /// It begins later.
    #[error("the recording {path} begins at {begins}, after the moment asked for", path = path.display())]
    TooEarly {
        /// Which.
        path: PathBuf,
        /// When, RFC 3339.
        begins: String,
    },
}

impl TapeError {
    /// The fixed word for scripts.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Create { .. } | Self::Write { .. } | Self::Terminal => "output",
            Self::Open { .. } => "recording",
            Self::Read { source, .. } => match source {
                recording::Error::NotARecording => "no-recording",
                recording::Error::OtherVersion { .. } => "recording-version",
                recording::Error::Damaged { .. } => "recording-damaged",
                recording::Error::Read { .. } => "recording",
            },
            Self::Nothing { .. } => "recording-empty",
            Self::TooEarly { .. } => "no-such-moment",
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Create { .. } => "name a file that does not exist yet, in a directory that can be written",
            Self::Write { .. } => {
                "make space, or record elsewhere with `-o FILE`; fewer VMs (`--vm`) take less"
            }
            Self::Terminal => "name a file with `-o FILE`, or send standard output somewhere else",
            Self::Open { .. } => "see that the file is there and may be read",
            Self::Read { source, .. } => match source {
                recording::Error::NotARecording => {
                    "name a file that `ldrscope record` or `ldrscope serve` has written"
                }
                recording::Error::OtherVersion { .. } => {
                    "replay it with the release of ldrscope that recorded it, or a later one"
                }
                recording::Error::Damaged { .. } => {
                    "copy it again from where it was recorded, as binary; what stands before the damage was replayed"
                }
                recording::Error::Read { .. } => "see what is wrong with the medium that it is on",
            },
            Self::Nothing { .. } => "record again, for some seconds at least",
            Self::TooEarly { .. } => "ask for a later moment, or leave `--at` out for its end",
        }
    }

    /// Whether the command line was wrong.
    #[must_use]
    pub const fn is_usage(&self) -> bool {
        matches!(self, Self::Terminal | Self::TooEarly { .. })
    }
}
