//! The event log: every output as a line of JSON in a file that the operator's own tools rotate and read.
//!
//! A line is there whole or not at all. What cannot be written is lost and counted, never waited for, and the first line
//! once it works again says how many are missing. The file is opened anew on request (SIGHUP) and when its name no longer
//! leads to it. A FIFO is written while somebody reads it.

mod target;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
};

use probe_apic::id::BootTime;

use self::target::Target;
use crate::{
    clock::WallClock,
    engine::output::{Output, Status, StatusKind},
    sink::{Sink as _, jsonl::JsonLines},
};

/// Between two looks whether the name still leads to the file, and between two attempts to write to one that is not
/// written to otherwise, in nanoseconds.
const LOOK_EVERY: u64 = 1_000_000_000;

/// The event log cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("the event log {} cannot be opened", .path.display())]
pub struct EventLogError {
    path: PathBuf,
    source: io::Error,
}

/// A file of JSON Lines.
#[derive(Debug)]
pub struct EventLog {
    path: PathBuf,
    /// `None` for a FIFO that nobody reads.
    target: Option<Target>,
    looked_at: BootTime,
    tried_at: BootTime,
    lost: u64,
    /// Of those lost, how many the log does not tell of yet.
    untold: u64,
}

impl EventLog {
    /// Opens the file for appending, making it if need be (mode 0640).
    ///
    /// # Errors
    /// Where it cannot be opened. A FIFO that nobody reads yet is no error.
    pub fn open(path: &Path, now: BootTime) -> Result<Self, EventLogError> {
        Ok(Self {
            target: open(path)?,
            path: path.to_owned(),
            looked_at: now,
            tried_at: now,
            lost: 0,
            untold: 0,
        })
    }

    /// Writes one output, or counts it as lost. `wall` is the wall clock of the moment `now`.
    pub fn emit(&mut self, output: &Output, wall: WallClock, now: BootTime) {
        self.look(now);
        let written = line(output, wall).and_then(|line| self.write(line, wall, now));
        if let Err(error) = written {
            self.lose(1, &error);
        }
    }

    /// Does what [`Self::next_due`] asked for.
    pub fn tick(&mut self, wall: WallClock, now: BootTime) {
        if self.next_due().is_some_and(|due| due <= now) {
            self.look(now);
            // What fails is told and counted already.
            let _ = self.write(Vec::new(), wall, now);
        }
    }

    /// When to call [`Self::tick`] next; nothing while all is written.
    #[must_use]
    pub fn next_due(&self) -> Option<BootTime> {
        let behind = self.untold > 0 || self.target.as_ref().is_some_and(Target::is_behind);
        behind.then(|| self.tried_at.plus(LOOK_EVERY))
    }

    /// Opens the file anew, as after a rotation. The old one stays in use where that fails.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn reopen(&mut self, now: BootTime) -> Result<(), EventLogError> {
        self.looked_at = now;
        let target = open(&self.path)?;
        self.replace(target);
        Ok(())
    }

    /// Lines lost since the start.
    #[must_use]
    pub const fn losses(&self) -> u64 {
        self.lost
    }

    /// Where it is written to.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file anew where its name leads elsewhere, at most once a second.
    fn look(&mut self, now: BootTime) {
        if now.since(self.looked_at) < LOOK_EVERY {
            return;
        }
        self.looked_at = now;
        if self
            .target
            .as_ref()
            .is_some_and(|target| target.is_at(&self.path))
        {
            return;
        }
        match open(&self.path) {
            Ok(target) => self.replace(target),
            Err(error) if self.untold == 0 => log::warn!("{error}: {}", error.source),
            Err(_) => {}
        }
    }

    /// Half a line that its reader will never get the rest of is lost.
    fn replace(&mut self, target: Option<Target>) {
        if self.target.as_ref().is_some_and(Target::is_behind) {
            self.lose(1, &io::ErrorKind::BrokenPipe.into());
        }
        self.target = target;
    }

    /// Writes `line`, and before it what was lost before, in one piece: where only the few bytes that tell of a loss
    /// fit, they would be all that is ever written.
    fn write(&mut self, line: Vec<u8>, wall: WallClock, now: BootTime) -> io::Result<()> {
        self.tried_at = now;
        let mut piece = self.losses_line(wall, now)?;
        piece.extend(line);
        let Some(target) = &mut self.target else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        match target.write(&piece) {
            Ok(()) => self.said_losses(),
            Err(error) => {
                if error.kind() == io::ErrorKind::BrokenPipe {
                    // Its reader left; the next one is to begin with a whole line.
                    self.replace(None);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn losses_line(&self, wall: WallClock, now: BootTime) -> io::Result<Vec<u8>> {
        if self.untold == 0 {
            return Ok(Vec::new());
        }
        let status = Status {
            at: now,
            vm: None,
            kind: StatusKind::OutputLost { lines: self.untold },
        };
        line(&Output::Status(status), wall)
    }

    fn said_losses(&mut self) {
        if self.untold > 0 {
            log::info!(
                "the event log {} is written again; lines lost: {}",
                self.path.display(),
                self.untold
            );
            self.untold = 0;
        }
    }

    fn lose(&mut self, lines: u64, error: &io::Error) {
        if self.untold == 0 {
            log::warn!(
                "the event log {} cannot be written: {error}; lines are lost and counted until it can",
                self.path.display()
            );
        }
        self.lost += lines;
        self.untold += lines;
    }
}

fn open(path: &Path) -> Result<Option<Target>, EventLogError> {
    Target::open(path).map_err(|source| EventLogError {
        path: path.to_owned(),
        source,
    })
}

fn line(output: &Output, wall: WallClock) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    JsonLines::new(&mut line).emit(output, wall)?;
    Ok(line)
}
