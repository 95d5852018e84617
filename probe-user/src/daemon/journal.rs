//! The systemd journal: every output as an entry with fields of its own, by journald's native protocol.
//!
//! journald may be restarting, stopped, or not read for a while. Entries then wait in a queue with bounds, in order; what
//! does not fit is lost and counted, and once the queue is empty an entry says how many are missing.

mod entry;
mod fields;
pub mod message_id;
mod socket;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, io, os::unix::fs::FileTypeExt as _, path::Path};

use probe_apic::id::BootTime;

use self::{entry::entry, socket::Socket};
use crate::{
    clock::WallClock,
    engine::output::{Output, Status, StatusKind},
};

/// Where journald listens.
pub const SOCKET: &str = "/run/systemd/journal/socket";

/// Entries and bytes that wait at most: minutes of a busy host.
const MAX_ENTRIES: usize = 1000;
const MAX_BYTES: usize = 1 << 20;

/// Between two attempts, in nanoseconds; doubled up to the longest while they fail.
const SHORTEST_PAUSE: u64 = 100_000_000;
const LONGEST_PAUSE: u64 = 2_000_000_000;

/// The journal as an output.
#[derive(Debug)]
pub struct Journal {
    socket: Socket,
    waiting: VecDeque<Vec<u8>>,
    waiting_bytes: usize,
    pause: u64,
    retry_at: BootTime,
    lost: u64,
    /// Of those lost, how many the journal does not tell of yet.
    untold: u64,
}

impl Journal {
    /// Sends to the journald that listens, or will listen, at `path` (usually [`SOCKET`]).
    ///
    /// # Errors
    /// Where the kernel refuses a socket.
    pub fn new(path: &Path) -> io::Result<Self> {
        Ok(Self {
            socket: Socket::new(path)?,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            pause: SHORTEST_PAUSE,
            retry_at: BootTime(0),
            lost: 0,
            untold: 0,
        })
    }

    /// Whether a journald listens at `path`: for those who want the journal where there is one.
    #[must_use]
    pub fn is_there(path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
    }

    /// Sends one output, keeps it for later, or counts it as lost. `wall` is the wall clock of the moment `now`.
    pub fn emit(&mut self, output: &Output, wall: WallClock, now: BootTime) {
        self.tick(wall, now);
        let entry = entry(output, wall);
        if self.is_behind() {
            return self.keep(entry);
        }
        if let Err(error) = self.socket.send(&entry) {
            log::debug!("journald takes nothing: {error}");
            self.retry_at = now.plus(self.pause);
            self.keep(entry);
        }
    }

    /// Tries again where [`Self::next_due`] has come.
    pub fn tick(&mut self, wall: WallClock, now: BootTime) {
        if self.next_due().is_some_and(|due| due <= now) {
            self.retry(wall, now);
        }
    }

    /// Tries to send all that waits, at once: for the end of the run. Whether nothing waits any more.
    pub fn flush(&mut self, wall: WallClock, now: BootTime) -> bool {
        if self.is_behind() {
            self.retry(wall, now);
        }
        !self.is_behind()
    }

    /// When to call [`Self::tick`] next; nothing while all is sent.
    #[must_use]
    pub fn next_due(&self) -> Option<BootTime> {
        self.is_behind().then_some(self.retry_at)
    }

    /// Entries lost since the start.
    #[must_use]
    pub const fn losses(&self) -> u64 {
        self.lost
    }

    fn is_behind(&self) -> bool {
        !self.waiting.is_empty() || self.untold > 0
    }

    fn keep(&mut self, entry: Vec<u8>) {
        // Once something is lost, the order of what the journal tells holds only if nothing goes before the count.
        let fits = self.waiting.len() < MAX_ENTRIES && self.waiting_bytes + entry.len() <= MAX_BYTES;
        if fits && self.untold == 0 {
            self.waiting_bytes += entry.len();
            self.waiting.push_back(entry);
            return;
        }
        if self.untold == 0 {
            log::warn!("journald takes nothing; entries are lost and counted until it does");
        }
        self.lost += 1;
        self.untold += 1;
    }

    fn retry(&mut self, wall: WallClock, now: BootTime) {
        while let Some(entry) = self.waiting.front() {
            if self.socket.send(entry).is_err() {
                return self.put_off(now);
            }
            self.waiting_bytes -= entry.len();
            self.waiting.pop_front();
        }
        if self.untold > 0 {
            let status = Status {
                at: now,
                vm: None,
                kind: StatusKind::OutputLost { lines: self.untold },
            };
            if self.socket.send(&entry(&Output::Status(status), wall)).is_err() {
                return self.put_off(now);
            }
            log::info!("journald takes entries again; entries lost: {}", self.untold);
            self.untold = 0;
        }
        self.pause = SHORTEST_PAUSE;
    }

    /// What was sent before it failed shows that journald reads: then it is tried again soon.
    fn put_off(&mut self, now: BootTime) {
        self.retry_at = now.plus(self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}
