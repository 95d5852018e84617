//! What the kernel side did not send, counted where userspace reads it in place.

use crate::{assert_size, record};

record! {
/// Counts since the programs were loaded. Several CPUs add to them at once, atomically.
pub struct Counts {
    /// Events that found no room in the ring.
    pub dropped: u64,
    /// Events that were left out, since a copy of the VM was due anyway.
    pub skipped: u64,
    /// VMs that found no room in the table.
    pub untracked: u64,
}
}
assert_size!(Counts, 24);
