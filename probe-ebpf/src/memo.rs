//! What does not change about a vCPU, remembered by each CPU: finding it takes three reads of kernel memory, the dearest that a
//! hook does.
//!
//! A vCPU lives as long as its VM, so that its address, its VM's birth number and the number of vCPUs that the VM has had name
//! it. (One whose creation failed never counts. Its address may be another's that is still being created, which the first
//! events of that one may then mistake for it; state is read elsewhere.)

use crate::maps::{MEMO_SLOTS, MEMOS, Memo, VmEntry};

/// What is remembered of a vCPU.
#[derive(Clone, Copy)]
pub(crate) struct Known {
    /// `vcpu_id`.
    pub(crate) id: u32,
    /// Address of its LAPIC's register page.
    pub(crate) page: u64,
}

/// What this CPU remembers of `vcpu`, a vCPU of the VM of `entry`.
///
/// A task that this one was preempted by may have put another vCPU there meanwhile: the address is looked at twice, and is
/// the last to be written.
#[inline(always)]
pub(crate) fn recall(vcpu: u64, entry: &VmEntry) -> Option<Known> {
    let memo = MEMOS.get_ptr(slot(vcpu))?;
    // SAFETY: the verifier proved that the entry exists.
    let place = unsafe { &raw const (*memo).vcpu };
    // SAFETY: as above; a plain integer. Volatile, since another task may write between the reads.
    let read = || unsafe { place.read_volatile() };
    if read() != vcpu {
        return None;
    }
    // SAFETY: as above; plain integers all.
    let seen = unsafe { memo.read_volatile() };
    let holds = seen.generation == entry.generation && seen.vcpus == entry.vcpus && read() == vcpu;
    holds.then_some(Known {
        id: seen.id,
        page: seen.page,
    })
}

/// Remembers.
#[inline(always)]
pub(crate) fn note(vcpu: u64, entry: &VmEntry, known: Known) {
    let Some(memo) = MEMOS.get_ptr_mut(slot(vcpu)) else {
        return;
    };
    let blank = Memo {
        vcpu: 0,
        generation: entry.generation,
        page: known.page,
        vcpus: entry.vcpus,
        id: known.id,
    };
    // SAFETY: the verifier proved that the entry exists; it is this CPU's own.
    unsafe { memo.write_volatile(blank) };
    // SAFETY: as above.
    let place = unsafe { &raw mut (*memo).vcpu };
    // SAFETY: as above.
    unsafe { place.write_volatile(vcpu) };
}

/// Multiplied by the golden ratio: vCPUs lie a fixed distance apart.
#[inline(always)]
const fn slot(vcpu: u64) -> u32 {
    (vcpu.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 58) as u32 & (MEMO_SLOTS - 1)
}
