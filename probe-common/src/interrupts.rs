//! Counts of the interrupts that were sent to logical destinations, kept where userspace reads them in place.
//!
//! Each CPU has two banks, one for the windows of time with an even number and one for the odd ones. The hook counts into that of the
//! window that [`Pulse::window`] names; userspace begins the next window and reads the one before it, into which nobody counts any more. What
//! a bank holds of an older window is as good as empty.

use crate::{assert_size, record};

/// Kinds of interrupts that one bank holds.
pub const SLOTS: usize = 256;
/// Slots that are tried for one kind.
pub const TRIES: usize = 4;
/// Interrupts that one CPU counts in a window; the rest of them it counts as [`Bank::beyond`], which costs less.
pub const LIMIT: u64 = 1000;

record! {
/// Interrupts of one kind: of one VM, to one destination, with one vector, while one map was in use.
pub struct Tallied {
    /// Birth number of the VM.
    pub vm: u64,
    /// Completed recalculations of the VM's map by then.
    pub recalculations: u64,
    /// Where to and what: see [`what`].
    pub what: u64,
    /// The window; of another one than the bank's the slot is free.
    pub window: u32,
    /// How many.
    pub count: u32,
}
}
assert_size!(Tallied, 32);

record! {
/// What one CPU counted in one window.
pub struct Bank {
    /// The window.
    pub window: u32,
    /// Interrupts that were counted.
    pub counted: u32,
    /// Interrupts that came when the CPU had counted its [`LIMIT`].
    pub beyond: u32,
    /// Interrupts of a kind for which there was no slot.
    pub full: u32,
    /// The kinds, hashed.
    pub slots: [Tallied; SLOTS],
}
}
assert_size!(Bank, 16 + SLOTS * 32);

record! {
/// Written by userspace in place, word by word.
pub struct Pulse {
    /// The window that is counted for, from 1 on; 0 where nothing is.
    pub window: u64,
    /// Address of the `struct kvm` that alone is counted for; 0 for all.
    pub only: u64,
}
}
assert_size!(Pulse, 16);

/// The parts of [`Tallied::what`].
pub mod what {
    /// The destination takes bits 31:0, the vector bits 39:32, and bit 40 is set where one of those that it names is to get it.
    #[must_use]
    #[inline(always)]
    pub const fn pack(dest: u32, vector: u8, lowest_priority: bool) -> u64 {
        dest as u64 | (vector as u64) << 32 | (lowest_priority as u64) << 40
    }

    /// Destination, vector, and whether one of those named is to get it.
    #[must_use]
    pub const fn unpack(what: u64) -> (u32, u8, bool) {
        (what as u32, (what >> 32) as u8, what >> 40 & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::what;

    #[test]
    fn what_is_packed_comes_back() {
        for one in [false, true] {
            assert_eq!(
                what::unpack(what::pack(0xdead_beef, 0x31, one)),
                (0xdead_beef, 0x31, one)
            );
        }
    }
}
