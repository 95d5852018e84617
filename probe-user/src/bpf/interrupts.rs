//! The counts of interrupts, window by window.
//!
//! UNSAFETY: reads memory that the kernel side writes, and writes memory that it reads.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    ptr,
};

use aya::maps::MapData;
use probe_common::interrupts::{Bank, Pulse, Tallied};

use super::mapped::Mapped;
use crate::kernel::obstacle::Obstacle;

/// Takes the counts.
#[derive(Debug)]
pub struct InterruptCounter {
    banks: Mapped<Bank>,
    /// How many there are: two for each CPU.
    count: usize,
    pulse: Mapped<Pulse>,
    /// The window that is counted for.
    window: u32,
    /// The VM that alone is counted for.
    only: u64,
}

/// What was not counted in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uncounted {
    /// Interrupts beyond what a CPU counts in a window.
    pub beyond: u64,
    /// Interrupts of more kinds than a CPU has room for.
    pub full: u64,
}

impl InterruptCounter {
    /// Takes over the banks and the pulse. Nothing is counted before the first [`Self::turn`].
    ///
    /// # Errors
    ///
    /// Where the kernel refuses to map them.
    pub fn new([banks, pulse]: [OwnedFd; 2]) -> Result<Self, Obstacle> {
        let unusable = |source: aya::maps::MapError| Obstacle::Internal {
            doing: "taking over the counts of interrupts",
            source: source.into(),
        };
        let banks = MapData::from_fd(banks).map_err(unusable)?;
        let count = banks.info().map_err(unusable)?.max_entries() as usize;
        let descriptor = banks.fd().as_fd().try_clone_to_owned();
        let descriptor =
            descriptor.map_err(|source| Obstacle::internal("duplicating a descriptor", source))?;
        let pulse: Mapped<Pulse> = Mapped::writable(pulse)?;
        // SAFETY: mapped, a whole `Pulse` of plain integers, which only this process writes by now.
        let before = unsafe { pulse.place().read_volatile() };
        Ok(Self {
            banks: Mapped::array(descriptor, count)?,
            count,
            pulse,
            // Whoever proved the hook counted before.
            window: u32::try_from(before.window).unwrap_or_default(),
            only: before.only,
        })
    }

    /// Begins the next window and appends what was counted in the one before the present one: nobody counts into that any more.
    pub fn turn(&mut self, counted: &mut Vec<Tallied>) -> Uncounted {
        let over = self.window.wrapping_sub(1);
        let mut uncounted = Uncounted::default();
        if self.window > 1 {
            for at in (0..self.count).filter(|at| (at & 1) as u32 == over & 1) {
                let bank = self.bank(at);
                // SAFETY: a bank within the mapping, and the address of its first field.
                let window = unsafe { &raw const (*bank).window };
                // SAFETY: as above; a plain integer, read whole, whoever writes.
                if unsafe { window.read_volatile() } != over {
                    continue;
                }
                // SAFETY: the mapping lives as long as self and holds plain integers, which nobody writes any more.
                let bank: Box<Bank> = Box::new(unsafe { bank.read_volatile() });
                uncounted.beyond += u64::from(bank.beyond);
                uncounted.full += u64::from(bank.full);
                counted.extend(bank.slots.iter().filter(|slot| slot.window == over));
            }
        }
        // Window 0 is none.
        self.window = self.window.checked_add(1).unwrap_or(1);
        self.beat();
        uncounted
    }

    /// Counts for the VM at this address alone; 0 for all.
    pub fn count_only(&mut self, kvm: u64) {
        if self.only != kvm {
            self.only = kvm;
            self.beat();
        }
    }

    fn beat(&mut self) {
        let pulse = Pulse {
            window: self.window.into(),
            only: self.only,
        };
        // SAFETY: mapped writable, a whole `Pulse`; programs only read it, and each of its words by itself.
        unsafe { ptr::write_volatile(self.pulse.place().cast_mut(), pulse) };
    }

    fn bank(&self, at: usize) -> *const Bank {
        debug_assert!(at < self.count);
        self.banks.place().wrapping_add(at)
    }
}
