//! The two ways in which a hook is entered, and how each of them reaches the kernel's memory.
//!
//! A hook that guests pay for often is there twice. As a *kprobe* it can stay attached for ever, since it does not pin the kvm module, but entering
//! it costs some 350 instructions and every read goes through a helper. As an *fentry* program it costs a third, its
//! arguments have types, and what they lead to is read by plain loads; it pins the module, so userspace attaches it while
//! there are VMs. While both are attached, [`SPEAKING`] says which of them speak.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use probe_common::speaking::Speaking;

use crate::maps::SPEAKING;

/// A way in.
pub(crate) trait Way: Copy {
    /// Whether programs that were entered this way are to say anything now.
    fn speaks() -> bool;

    /// The same for what must not be told twice, as a count: while programs are exchanged the fentry programs alone do.
    fn speaks_alone() -> bool;

    /// Reads one plain value behind a pointer that came in this way.
    fn read<T: Copy>(from: u64) -> Option<T>;
}

/// By kprobe: pointers are mere numbers.
#[derive(Clone, Copy)]
pub(crate) struct Kprobe;

/// By fentry: the verifier knows what the pointers point to, and lets them be followed.
#[derive(Clone, Copy)]
pub(crate) struct Fentry;

impl Way for Kprobe {
    #[inline(always)]
    fn speaks() -> bool {
        speaking(|speaking| speaking.kprobes)
    }

    #[inline(always)]
    fn speaks_alone() -> bool {
        !Fentry::speaks()
    }

    #[inline(always)]
    fn read<T: Copy>(from: u64) -> Option<T> {
        read(from)
    }
}

impl Way for Fentry {
    #[inline(always)]
    fn speaks() -> bool {
        speaking(|speaking| speaking.fentries)
    }

    #[inline(always)]
    fn speaks_alone() -> bool {
        Self::speaks()
    }

    /// A load that faults gives zero; a pointer that has a type is one of the kernel's own to a live structure.
    #[inline(always)]
    fn read<T: Copy>(from: u64) -> Option<T> {
        // SAFETY: the verifier proved that a T lies there.
        Some(unsafe { core::ptr::read_volatile(from as *const T) })
    }
}

#[inline(always)]
fn speaking(of: impl FnOnce(&Speaking) -> u32) -> bool {
    let Some(speaking) = SPEAKING.get_ptr(0) else {
        return false;
    };
    // SAFETY: the verifier proved that the entry exists; userspace writes its words whole.
    of(unsafe { &*speaking }) != 0
}

/// Copies `bytes` bytes of kernel memory; 0 on success. On failure the kernel zeroes the destination.
///
/// # Safety
///
/// `to` must point to `bytes` writable bytes.
#[inline(always)]
pub(crate) unsafe fn copy(to: *mut c_void, bytes: u32, from: u64) -> i64 {
    // SAFETY: the caller vouches for the destination; the helper tolerates any source address.
    unsafe { bpf_probe_read_kernel(to, bytes, from as *const c_void) as i64 }
}

/// Reads one plain value at any address.
#[inline(always)]
pub(crate) fn read<T: Copy>(from: u64) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the destination is a local of exactly that size.
    let failed = unsafe { copy(value.as_mut_ptr().cast(), size_of::<T>() as u32, from) };
    if failed != 0 {
        return None;
    }
    // SAFETY: the helper filled all of it, and T is used with integers only.
    Some(unsafe { value.assume_init() })
}

/// Reads into a place of the window; 0 or an error code.
#[inline(always)]
pub(crate) fn fetch<T>(to: &mut T, from: u64) -> u32 {
    // SAFETY: the destination is a whole T.
    unsafe { copy((&raw mut *to).cast(), size_of::<T>() as u32, from) as u32 }
}
