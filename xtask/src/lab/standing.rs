//! Where a run stands against its time limits, and what an end of it means. Takes the time as a value; waits for nothing.

use std::time::{Duration, Instant};

use super::{console::Log, outcome::LabError};

/// A boot takes 5 to 15 s on a free machine; a busy one gets ten times that.
const BOOT: Duration = Duration::from_secs(150);
/// Counting instructions runs at a tenth of the speed.
const COUNTING_BOOT: Duration = Duration::from_secs(900);
/// So long without a sign of life is a hung kernel, even on a machine with other work.
const SILENCE: Duration = Duration::from_secs(120);
/// How long to wait where nothing has a limit.
const UNLIMITED: Duration = Duration::from_secs(3600);

/// How long each phase of a run may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    boot: Duration,
    silence: Option<Duration>,
    command: Option<Duration>,
}

impl Limits {
    /// The limits of a run whose command has `command` time. A clock that counts instructions jumps while the host is
    /// idle, so that its heartbeat says nothing.
    pub(super) fn new(counts_instructions: bool, command: Option<Duration>) -> Self {
        let (boot, silence) = if counts_instructions {
            (COUNTING_BOOT, None)
        } else {
            (BOOT, Some(SILENCE))
        };
        Self {
            boot,
            silence,
            command,
        }
    }
}

/// Where a run stands.
#[derive(Debug)]
pub(super) struct Standing {
    limits: Limits,
    began: Instant,
    booted: Option<Instant>,
    last_sign: Instant,
}

impl Standing {
    /// A run that begins `now`.
    pub(super) fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            began: now,
            booted: None,
            last_sign: now,
        }
    }

    /// The command starts `now`.
    pub(super) fn booted(&mut self, now: Instant) {
        self.booted = Some(now);
    }

    /// The lab did something `now`.
    pub(super) fn alive(&mut self, now: Instant) {
        self.last_sign = now;
    }

    /// Time from `now` until something is overdue.
    pub(super) fn patience(&self, now: Instant) -> Duration {
        let deadlines = match self.booted {
            None => [Some(self.began + self.limits.boot), None],
            Some(booted) => [
                self.limits.command.map(|limit| booted + limit),
                self.limits.silence.map(|limit| self.last_sign + limit),
            ],
        };
        let next = deadlines.into_iter().flatten().min();
        next.map_or(UNLIMITED, |deadline| deadline.saturating_duration_since(now))
    }

    /// The end of a run in which something is overdue at `now`.
    pub(super) fn overdue(&self, now: Instant) -> Option<End> {
        let over = |since: Instant, limit: Duration| now.saturating_duration_since(since) >= limit;
        let Some(booted) = self.booted else {
            let sentence = || format!("no command ran within {} s", self.limits.boot.as_secs());
            return over(self.began, self.limits.boot).then(|| End::NotBooted(sentence()));
        };
        if let Some(limit) = self.limits.command.filter(|&limit| over(booted, limit)) {
            return Some(End::TimedOut(limit));
        }
        let silence = self.limits.silence.filter(|&limit| over(self.last_sign, limit))?;
        Some(End::KernelBroke(format!(
            "it gave no sign of life for {} s",
            silence.as_secs()
        )))
    }

    /// What a failure of PID 1 means: once booted, only starting the command is left to fail.
    pub(super) fn failed(&self, sentence: String) -> End {
        if self.booted.is_some() {
            End::NoCommand(sentence)
        } else {
            End::NotBooted(sentence)
        }
    }

    /// What trouble of the kernel means.
    pub(super) fn broke(&self, reason: String) -> End {
        if self.booted.is_some() {
            End::KernelBroke(reason)
        } else {
            End::NotBooted(reason)
        }
    }
}

/// How a run ended that is no verdict on the command, before its log has been kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// PID 1 or the kernel gave up before the command ran.
    NotBooted(String),
    /// The command could not be started.
    NoCommand(String),
    /// The kernel broke under the command.
    KernelBroke(String),
    /// The command had this long.
    TimedOut(Duration),
}

impl End {
    /// The error for the caller; the log is kept where it can tell more.
    pub(super) fn with_log(self, log: &mut Log) -> LabError {
        match self {
            Self::NoCommand(reason) => LabError::NoCommand(reason),
            Self::NotBooted(reason) => LabError::NotBooted {
                reason,
                log: log.keep(),
            },
            Self::KernelBroke(reason) => LabError::KernelBroke {
                reason,
                log: log.keep(),
            },
            Self::TimedOut(limit) => LabError::TimedOut {
                limit,
                log: log.keep(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_phase_has_its_own_limit() {
        let start = Instant::now();
        let mut run = Standing::new(Limits::new(false, Some(10 * SECOND)), start);
        assert_eq!(run.patience(start), BOOT);
        assert!(matches!(run.overdue(start + BOOT), Some(End::NotBooted(_))));
        run.booted(start + SECOND);
        run.alive(start + SECOND);
        assert_eq!(run.patience(start + SECOND), 10 * SECOND);
        assert_eq!(run.overdue(start + 10 * SECOND), None);
        assert_eq!(run.overdue(start + 11 * SECOND), Some(End::TimedOut(10 * SECOND)));
    }

    #[test]
    fn silence_is_a_hung_kernel_unless_instructions_are_counted() {
        let start = Instant::now();
        let late = start + SILENCE;
        for (counting, hung) in [(false, true), (true, false)] {
            let mut run = Standing::new(Limits::new(counting, None), start);
            run.booted(start);
            assert_eq!(matches!(run.overdue(late), Some(End::KernelBroke(_))), hung);
            run.alive(late);
            assert_eq!(run.overdue(late), None);
        }
    }

    #[test]
    fn the_same_trouble_means_no_boot_before_and_a_broken_kernel_after() {
        let now = Instant::now();
        let mut run = Standing::new(Limits::new(false, None), now);
        assert!(matches!(run.broke("Oops".into()), End::NotBooted(_)));
        assert!(matches!(run.failed("no port".into()), End::NotBooted(_)));
        run.booted(now);
        assert!(matches!(run.broke("Oops".into()), End::KernelBroke(_)));
        assert!(matches!(run.failed("no such command".into()), End::NoCommand(_)));
    }
}
