//! One anonymous mapping that serves as a guest's memory, and bounds-checked writes and reads of it.
//! The only place of the lab where guest memory is touched by pointer; what the bytes mean is for `layout`.

use std::ptr::{self, NonNull};

use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::VmFd;
use rustix::mm::{MapFlags, ProtFlags};

use super::GuestError;
use super::layout::MEMORY_BYTES;

/// A guest's memory, from guest physical address 0.
#[derive(Debug)]
pub(super) struct GuestMemory {
    start: NonNull<u8>,
}

// SAFETY: the mapping belongs to the value alone and no thread has a claim on it; whoever holds the value may use it.
unsafe impl Send for GuestMemory {}

// SAFETY: by a shared reference the mapping is only attached and read, word by word and volatile; writing takes an
// exclusive one.
unsafe impl Sync for GuestMemory {}

impl GuestMemory {
    /// Maps the memory; nothing is populated until it is touched.
    pub(super) fn new() -> Result<Self, GuestError> {
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice overlaps nothing.
        let start = unsafe {
            rustix::mm::mmap_anonymous(
                ptr::null_mut(),
                MEMORY_BYTES,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        }
        .map_err(|errno| GuestError::Memory(errno.into()))?;
        let start = NonNull::new(start.cast::<u8>())
            .ok_or_else(|| GuestError::Memory(std::io::ErrorKind::OutOfMemory.into()))?;
        Ok(Self { start })
    }

    /// Makes the mapping memory slot 0 of `vm`.
    pub(super) fn attach(&self, vm: &VmFd) -> Result<(), GuestError> {
        let region = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: 0,
            memory_size: MEMORY_BYTES as u64,
            userspace_addr: self.start.as_ptr().addr() as u64,
        };
        // SAFETY: the range is mapped for as long as `self` lives, and `Guest` drops its VM first.
        unsafe { vm.set_user_memory_region(region) }.map_err(GuestError::kvm("KVM_SET_USER_MEMORY_REGION"))
    }

    /// Copies `bytes` to guest physical address `at`.
    pub(super) fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), GuestError> {
        let target = self.range(at, bytes.len())?;
        // SAFETY: `range` checked that the target lies inside the mapping, and the source is a Rust slice, which
        // cannot overlap guest memory because no reference to guest memory is ever made.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len()) };
        Ok(())
    }

    /// Reads the 32-bit value at guest physical address `at`.
    pub(super) fn read_u32(&self, at: u32) -> Result<u32, GuestError> {
        let source = self.range(at, size_of::<u32>())?;
        // SAFETY: `range` checked the bounds; the guest may write concurrently, hence volatile, and any bit
        // pattern is a valid u32.
        Ok(unsafe { source.cast::<u32>().read_volatile() })
    }

    fn range(&self, at: u32, len: usize) -> Result<*mut u8, GuestError> {
        let offset = at as usize;
        match offset.checked_add(len) {
            // `wrapping_add` needs no promise; the bound makes the result lie inside the mapping.
            Some(end) if end <= MEMORY_BYTES => Ok(self.start.as_ptr().wrapping_add(offset)),
            _ => Err(GuestError::OutOfMemoryBounds { at, len }),
        }
    }
}

impl Drop for GuestMemory {
    fn drop(&mut self) {
        // SAFETY: the mapping was made in `new` with this length and nothing refers to it any more.
        let unmapped = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), MEMORY_BYTES) };
        debug_assert!(unmapped.is_ok(), "a mapping made by new can be unmapped");
    }
}
