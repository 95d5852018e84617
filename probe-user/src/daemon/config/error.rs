//! What is wrong with file or flags, where, and what to do about it.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct ConfigError {
    place: Place,
    what: String,
    remedy: String,
}

impl ConfigError {
    pub(super) fn new(place: Place, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            place,
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &str {
        &self.remedy
    }
}

/// Where a setting was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the file as a whole.
    File(PathBuf),
    /// In this line of it, the first being 1.
    Line(PathBuf, usize),
    /// By a flag.
    Flag(&'static str),
    /// By nobody: it is a default, or by whom does not matter any more.
    Default(&'static str),
}

impl Place {
    pub(super) fn line(path: &Path, text: &str, offset: usize) -> Self {
        let before = text.as_bytes().iter().take(offset);
        let line = before.filter(|byte| **byte == b'\n').count() + 1;
        Self::Line(path.to_owned(), line)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Line(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Flag(key) => write!(f, "--{key}"),
            Self::Default(key) => f.write_str(key),
        }
    }
}
