//! Why `top` cannot be shown.

use std::{io, path::PathBuf};

/// Why `top` cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    /// A pipe or a file is in the place of a terminal.
    #[error("`top` draws on a terminal and reads its keys, and {what} is none")]
    NoTerminal {
        /// Which of them.
        what: &'static str,
    },
    /// `TERM=dumb`.
    #[error("this terminal cannot place text (TERM is `dumb`)")]
    Dumb,
    /// The directory of snapshots.
    #[error("{path} cannot be opened as the directory of snapshots", path = path.display())]
    SnapshotDirectory {
        /// The directory.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// It does not do what it is asked to.
    #[error("the terminal cannot be used")]
    Terminal(#[source] io::Error),
}

impl TopError {
    /// The fixed cause word, as printed in `error[word]`.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::NoTerminal { .. } | Self::Dumb => "no-terminal",
            Self::SnapshotDirectory { .. } => "snapshot-dir",
            Self::Terminal(_) => "output",
        }
    }

    /// What to do about it: one sentence.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::NoTerminal { .. } | Self::Dumb => {
                "run it in a terminal (`ssh -t` gives one), or use `ldrscope watch` and `ldrscope replay`, which print lines"
            }
            Self::SnapshotDirectory { .. } => "name a directory that exists with `--snapshot-dir DIR`",
            Self::Terminal(_) => "use `ldrscope watch`, which prints lines",
        }
    }

    /// Whether it was asked for something that cannot be.
    #[must_use]
    pub const fn is_usage(&self) -> bool {
        !matches!(self, Self::Terminal(_))
    }

    /// Whether nobody looks any more: the terminal was closed.
    #[must_use]
    pub fn is_closed_terminal(&self) -> bool {
        let Self::Terminal(source) = self else {
            return false;
        };
        source.kind() == io::ErrorKind::BrokenPipe || source.raw_os_error() == Some(libc::EIO)
    }
}
