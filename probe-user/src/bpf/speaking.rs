//! Says which of a hook's two programs are to speak.
//!
//! UNSAFETY: writes memory that the kernel side reads.

use std::os::fd::OwnedFd;
use std::ptr;

use probe_common::speaking::Speaking;

use super::mapped::Mapped;
use crate::kernel::obstacle::Obstacle;

/// The map's one value, in place.
#[derive(Debug)]
pub(super) struct Voices(Mapped<Speaking>);

impl Voices {
    /// Maps the map.
    pub(super) fn new(map: OwnedFd) -> Result<Self, Obstacle> {
        Mapped::writable(map).map(Self)
    }

    /// From now on.
    pub(super) fn set(&mut self, speaking: Speaking) {
        // SAFETY: mapped writable, a whole `Speaking`; programs only read it, and each of its words by itself.
        unsafe { ptr::write_volatile(self.0.place().cast_mut(), speaking) };
    }
}
