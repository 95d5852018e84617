//! Memory of a map that userspace reads or writes in place.
//!
//! UNSAFETY: maps memory that the kernel side writes or reads, and hands out where it is. What is done with it is the business
//! of [`super::window`], [`super::ring`], [`super::speaking`] and [`super::interrupts`], which know who writes when.

use std::{
    marker::PhantomData,
    os::fd::{AsFd as _, OwnedFd},
    ptr,
};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::kernel::obstacle::Obstacle;

/// The values of an array map, of which most have one, mapped for as long as this lives; so long the map lives, too.
#[derive(Debug)]
pub(super) struct Mapped<T> {
    memory: *const T,
    /// How many values.
    values: usize,
    value: PhantomData<T>,
}

// SAFETY: the mapping belongs to the process, not to a thread, and is only read.
unsafe impl<T: Send> Send for Mapped<T> {}

impl<T> Mapped<T> {
    /// Maps the value of `map`, which is a `T`, to read it.
    pub(super) fn new(map: OwnedFd) -> Result<Self, Obstacle> {
        Self::with_protection(map, 1, ProtFlags::READ)
    }

    /// The same to write it.
    pub(super) fn writable(map: OwnedFd) -> Result<Self, Obstacle> {
        Self::with_protection(map, 1, ProtFlags::READ | ProtFlags::WRITE)
    }

    /// Maps all `values` of `map` to read them. Each must be a multiple of eight bytes, as the kernel lays them out.
    pub(super) fn array(map: OwnedFd, values: usize) -> Result<Self, Obstacle> {
        const { assert!(size_of::<T>().is_multiple_of(8)) };
        Self::with_protection(map, values, ProtFlags::READ)
    }

    fn with_protection(map: OwnedFd, values: usize, protection: ProtFlags) -> Result<Self, Obstacle> {
        // SAFETY: a fresh mapping at an address of the kernel's choice, of the size of the map's values (the kernel
        // rounds both to whole pages).
        let memory = unsafe {
            mmap(
                ptr::null_mut(),
                size_of::<T>() * values,
                protection,
                MapFlags::SHARED,
                map.as_fd(),
                0,
            )
        };
        let memory = memory.map_err(|error| Obstacle::internal("mapping a map", error.into()))?;
        Ok(Self {
            memory: memory.cast(),
            values,
            value: PhantomData,
        })
    }

    /// Where it is, or the first of them: valid as long as self, a whole `T`.
    pub(super) const fn place(&self) -> *const T {
        self.memory
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this size; no reference into it outlives self.
        let unmapped = unsafe { munmap(self.memory.cast_mut().cast(), size_of::<T>() * self.values) };
        if let Err(error) = unmapped {
            log::debug!("a map could not be unmapped: {error}");
        }
    }
}
