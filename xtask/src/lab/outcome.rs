//! The ways in which a run of the lab ends other than by its command: each a sentence and an exit status of its own.

use std::{path::PathBuf, time::Duration};

/// `sysexits.h`, EX_UNAVAILABLE: the lab did not come up, so nothing is known about the command.
const NOT_BOOTED: u8 = 69;
/// `sysexits.h`, EX_SOFTWARE: the lab's kernel broke under the command.
const KERNEL_BROKE: u8 = 70;
/// What shells return for a command that is not found.
const NO_COMMAND: u8 = 127;
/// What `timeout(1)` returns.
const TIMED_OUT: u8 = 124;

/// A run of the lab that is no verdict on its command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LabError {
    /// QEMU could not be prepared or started.
    #[error("the lab could not boot: {0:#}")]
    NotStarted(anyhow::Error),
    /// The kernel or PID 1 gave up before the command ran.
    #[error("the lab could not boot: {reason}; the kernel's console is in {}", log.display())]
    NotBooted {
        /// What was seen.
        reason: String,
        /// The kernel's console, kept.
        log: PathBuf,
    },
    /// The lab stood, but the command could not be started in it.
    #[error("the lab booted, but {0}")]
    NoCommand(String),
    /// The kernel panicked, oopsed or hung while the command ran.
    #[error("the lab's kernel broke while the command ran: {reason}; its console is in {}", log.display())]
    KernelBroke {
        /// The line that says so, or what was missed.
        reason: String,
        /// The kernel's console, kept.
        log: PathBuf,
    },
    /// The command did not end in time.
    #[error("the command did not end within {} s; the kernel's console is in {}", limit.as_secs(), log.display())]
    TimedOut {
        /// The time it had.
        limit: Duration,
        /// The kernel's console, kept.
        log: PathBuf,
    },
}

impl LabError {
    /// xtask's exit status for this end.
    pub(crate) const fn status(&self) -> u8 {
        match self {
            Self::NotStarted(_) | Self::NotBooted { .. } => NOT_BOOTED,
            Self::NoCommand(_) => NO_COMMAND,
            Self::KernelBroke { .. } => KERNEL_BROKE,
            Self::TimedOut { .. } => TIMED_OUT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_kinds_of_end_share_a_status() {
        let log = PathBuf::from("console.log");
        let not_booted = LabError::NotBooted {
            reason: "no boot".into(),
            log: log.clone(),
        };
        let broke = LabError::KernelBroke {
            reason: "Oops".into(),
            log: log.clone(),
        };
        let late = LabError::TimedOut {
            limit: Duration::from_secs(5),
            log,
        };
        let nothing = LabError::NoCommand("cannot run x".into());
        assert_eq!(
            [not_booted, broke, nothing].map(|end| end.status()),
            [69, 70, 127]
        );
        assert_eq!(late.status(), 124);
        assert!(late.to_string().contains("within 5 s"));
    }
}
