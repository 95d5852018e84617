//! All vCPUs of a guest write their LDRs flat out, through values that take each other's slots, none, one and all.

use std::sync::atomic::AtomicBool;
use std::thread;

use crate::guest::lapic::{ApicReg, ldr};
use crate::guest::{Guest, GuestError, Op};

/// Runs of the program between two looks at the time: a fraction of a second under emulation.
const ROUNDS: u32 = 50;

/// The logical IDs that vCPU `id` takes in turn.
fn logical_ids(id: u32) -> [u8; 4] {
    [1 << (id % 8), 0x03, 0xFF, 0x00]
}

/// Returns how many LDRs were written.
pub(super) fn rage(guests: &mut [Guest], stop: &AtomicBool) -> Result<u64, GuestError> {
    let program = |id: u32| {
        logical_ids(id)
            .map(|logical_id| Op::ApicWrite(ApicReg::Ldr, ldr(logical_id)))
            .to_vec()
    };
    let writes = |runs: u64| runs * logical_ids(0).len() as u64;
    thread::scope(|scope| {
        let storms: Vec<_> = guests
            .iter_mut()
            .map(|guest| scope.spawn(|| guest.run_at_once(program, ROUNDS, stop)))
            .collect();
        storms
            .into_iter()
            .map(|storm| Ok(writes(storm.join().unwrap_or(Err(GuestError::ThreadDied))?)))
            .sum()
    })
}
