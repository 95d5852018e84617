//! How ldrscope ends: its exit codes.

use std::process::ExitCode;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The job was done; also after SIGINT, SIGTERM, or a reader that closed the pipe.
    Done,
    /// The command line or the configuration file was wrong, or names a VM that does not exist.
    Usage,
    /// `diff --exit-code` only: the snapshots differ.
    Different,
    /// `check` only: some destinations are broken or slow, but nothing is known to use them.
    Warning,
    /// `check` only: an interrupt that is in use cannot arrive as it should.
    Critical,
    /// ldrscope could not look, or could not tell what it saw.
    CouldNotLook,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::from(0),
            Exit::Warning | Exit::Different => Self::from(1),
            Exit::Usage | Exit::Critical => Self::from(2),
            Exit::CouldNotLook => Self::from(3),
        }
    }
}
