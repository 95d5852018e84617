//! The ring of events, and the counters of what found no room in it.

use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::{Map, MapData, MapError, PerCpuArray, RingBuf};
use probe_common::decode::{self, Decoded};

/// Events of the hooks, in the order of their reservation.
pub struct Ring {
    ring: RingBuf<MapData>,
    undecodable: u64,
}

impl Ring {
    /// Takes over the ring.
    #[must_use]
    pub const fn new(ring: RingBuf<MapData>) -> Self {
        Self { ring, undecodable: 0 }
    }

    /// Appends what waits, at most `limit` events, so that a storm cannot hold the caller for ever. True
    /// where more may wait.
    pub fn drain(&mut self, limit: usize, events: &mut Vec<Decoded>) -> bool {
        for _ in 0..limit {
            let Some(record) = self.ring.next() else {
                return false;
            };
            match decode::event(&record) {
                Ok(event) => events.push(event),
                Err(error) => {
                    self.undecodable += 1;
                    log::error!("an event was dropped: {error}");
                }
            }
        }
        true
    }

    /// Records that could not be decoded so far.
    #[must_use]
    pub const fn undecodable(&self) -> u64 {
        self.undecodable
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

/// What the kernel side counted as lost, since it was loaded.
pub struct Counters {
    dropped: PerCpuArray<MapData, u64>,
    skipped: PerCpuArray<MapData, u64>,
    untracked: PerCpuArray<MapData, u64>,
}

impl Counters {
    /// Takes over the maps.
    ///
    /// # Errors
    ///
    /// Where a map is of another kind.
    pub fn new(dropped: Map, skipped: Map, untracked: Map) -> Result<Self, MapError> {
        Ok(Self {
            dropped: dropped.try_into()?,
            skipped: skipped.try_into()?,
            untracked: untracked.try_into()?,
        })
    }

    /// Events that found no room in the ring.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses the look-up.
    pub fn dropped(&self) -> Result<u64, MapError> {
        total(&self.dropped)
    }

    /// Events that were left out, since a copy that was due anyway shows what became of them.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses the look-up.
    pub fn skipped(&self) -> Result<u64, MapError> {
        total(&self.skipped)
    }

    /// VMs that found no room in the table.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses the look-up.
    pub fn untracked(&self) -> Result<u64, MapError> {
        total(&self.untracked)
    }
}

fn total(counter: &PerCpuArray<MapData, u64>) -> Result<u64, MapError> {
    Ok(counter.get(&0, 0)?.iter().sum())
}
