//! The ring of events, and the counters of what found no room in it.
//!
//! UNSAFETY: reads the counters' memory, which the kernel side writes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use aya::maps::{MapData, RingBuf};
use probe_common::{
    counts::Counts,
    decode::{self, Decoded},
};

use super::mapped::Mapped;
use crate::kernel::obstacle::Obstacle;

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

/// What the kernel side counts, read in place: while a look-up by bpf(2) is preempted, no hook's program runs on its CPU.
pub struct Counters(Mapped<Counts>);

impl Counters {
    /// Maps them.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses.
    pub fn new(map: OwnedFd) -> Result<Self, Obstacle> {
        Mapped::new(map).map(Self)
    }

    /// The counts as they are now.
    #[must_use]
    pub fn read(&self) -> Counts {
        // SAFETY: the mapping lives as long as self and holds plain integers that the kernel side adds to one by one; each is
        // read whole.
        unsafe { self.0.place().read_volatile() }
    }
}
