//! A guest that collides and is sane in turn: each time, long enough to be seen, never long enough to settle.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::guest::lapic::{DFR_FLAT, SVR_ENABLED};
use crate::guest::{Guest, GuestError};

/// How long either state lasts, beside the time that the guest takes to write.
const PHASE: Duration = Duration::from_millis(10);

/// Returns how often it collided.
pub(super) fn flap(guests: &mut [Guest], stop: &AtomicBool) -> Result<u64, GuestError> {
    let mut times = 0;
    while !stop.load(Ordering::Relaxed) {
        for guest in &mut *guests {
            guest.write_logical_id(1, DFR_FLAT, 0x01, SVR_ENABLED)?;
            times += 1;
        }
        thread::sleep(PHASE);
        for guest in &mut *guests {
            guest.write_logical_id(1, DFR_FLAT, 0x02, SVR_ENABLED)?;
        }
        thread::sleep(PHASE);
    }
    Ok(times)
}
