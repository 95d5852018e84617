//! Memory of a map that userspace reads or writes in place.
//!
//! UNSAFETY: maps memory that the kernel side writes or reads, and hands out where it is. What is done with it is the business
//! of [`super::window`], [`super::ring`] and [`super::speaking`], which know who writes when.

use std::{
    marker::PhantomData,
    os::fd::{AsFd as _, OwnedFd},
    ptr,
};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::kernel::obstacle::Obstacle;

/// The one value of an array map, mapped for as long as this lives; so long the map lives, too.
#[derive(Debug)]
pub(super) struct Mapped<T> {
    memory: *const T,
    value: PhantomData<T>,
}

// SAFETY: the mapping belongs to the process, not to a thread, and is only read.
unsafe impl<T: Send> Send for Mapped<T> {}

impl<T> Mapped<T> {
    /// Maps the value of `map`, which is a `T`, to read it.
    pub(super) fn new(map: OwnedFd) -> Result<Self, Obstacle> {
        Self::with_protection(map, ProtFlags::READ)
    }

    /// The same to write it.
    pub(super) fn writable(map: OwnedFd) -> Result<Self, Obstacle> {
        Self::with_protection(map, ProtFlags::READ | ProtFlags::WRITE)
    }

    fn with_protection(map: OwnedFd, protection: ProtFlags) -> Result<Self, Obstacle> {
        // SAFETY: a fresh mapping at an address of the kernel's choice, of the size of the map's one value (the kernel
        // rounds both to whole pages).
        let memory = unsafe {
            mmap(
                ptr::null_mut(),
                size_of::<T>(),
                protection,
                MapFlags::SHARED,
                map.as_fd(),
                0,
            )
        };
        let memory = memory.map_err(|error| Obstacle::internal("mapping a map", error.into()))?;
        Ok(Self {
            memory: memory.cast(),
            value: PhantomData,
        })
    }

    /// Where it is: valid as long as self, a whole `T`.
    pub(super) const fn place(&self) -> *const T {
        self.memory
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this size; no reference into it outlives self.
        let unmapped = unsafe { munmap(self.memory.cast_mut().cast(), size_of::<T>()) };
        if let Err(error) = unmapped {
            log::debug!("a map could not be unmapped: {error}");
        }
    }
}
