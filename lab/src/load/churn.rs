//! VMs that come, collide and go, one after the other as fast as they can.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::guest::lapic::{ApicReg, DFR_FLAT, SVR_ENABLED, ldr};
use crate::guest::{Guest, GuestError};

/// Makes `vms` VMs of `vcpus`, unless it is told to stop before. Returns how many it made.
pub(super) fn churn(vms: u32, vcpus: u32, stop: &AtomicBool) -> Result<u64, GuestError> {
    let mut made = 0;
    for number in 0..vms {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let guest = Guest::with_vcpus(vcpus)?;
        // All of one VM's are the same, and its neighbours' are others.
        let logical_id = 1 + (number % 0xFF) as u8;
        for id in 0..vcpus {
            guest.edit_lapic(
                id,
                &[
                    (ApicReg::Dfr, DFR_FLAT),
                    (ApicReg::Ldr, ldr(logical_id)),
                    (ApicReg::Svr, SVR_ENABLED),
                ],
            )?;
        }
        made += 1;
    }
    Ok(made)
}
