//! A VMM that restores LAPICs all the time: whole pages with LDRs and DFRs that fit no guest, while another of its threads
//! disables and enables the APICs underneath.
//!
//! Every page that it sets carries one tag in its LDR and in its SVR's vector, so that registers which were never set
//! together can be told: [`is_whole`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::guest::lapic::{
    APIC_BASE_BSP, APIC_BASE_ENABLED, ApicReg, DFR_CLUSTER, DFR_FLAT, SVR_DISABLED, SVR_ENABLED, ldr,
};
use crate::guest::{Guest, GuestError, layout};
use crate::random::Random;

/// Bit 8 of SVR enables the APIC, the low byte is the spurious vector.
const SVR_VECTOR: u32 = 0xFF;

/// Whether this LDR and SVR can have been set together, by a restore or at its end.
pub fn is_whole(ldr: u32, svr: u32) -> bool {
    let restored = svr & SVR_VECTOR == ldr >> 24;
    // At the end, and at the beginning, every SVR is Linux's.
    restored || svr & SVR_VECTOR == SVR_ENABLED & SVR_VECTOR
}

/// Returns how many pages were set.
pub(super) fn restore(guests: &[Guest], stop: &AtomicBool) -> Result<u64, GuestError> {
    let running = || !stop.load(Ordering::Relaxed);
    thread::scope(|scope| {
        let switching = scope.spawn(|| {
            while running() {
                guests.iter().try_for_each(switch_all_off_and_on)?;
                thread::yield_now();
            }
            Ok(())
        });
        let mut random = Random::new(2019);
        let mut pages = 0;
        while running() {
            for guest in guests {
                for id in guest.vcpu_ids() {
                    restore_one(guest, id, &mut random)?;
                    pages += 1;
                }
            }
            thread::yield_now();
        }
        switching.join().unwrap_or(Err(GuestError::ThreadDied))?;
        Ok(pages)
    })
}

fn restore_one(guest: &Guest, id: u32, random: &mut Random) -> Result<(), GuestError> {
    // Not the vector of the quiet states, and a legal spurious vector.
    let tag = 0x10 + random.below(0xE0) as u8;
    let dfr = random.pick([DFR_FLAT, DFR_CLUSTER, 0x5FFF_FFFF]);
    let svr = random.pick([SVR_ENABLED, SVR_DISABLED]) & !SVR_VECTOR | u32::from(tag);
    let registers = [(ApicReg::Ldr, ldr(tag)), (ApicReg::Dfr, dfr), (ApicReg::Svr, svr)];
    guest.edit_lapic(id, &registers)
}

fn switch_all_off_and_on(guest: &Guest) -> Result<(), GuestError> {
    for id in guest.vcpu_ids() {
        let bsp = if id == 0 { APIC_BASE_BSP } else { 0 };
        for enabled in [0, APIC_BASE_ENABLED] {
            guest.set_apic_base(id, u64::from(layout::LAPIC) | bsp | enabled)?;
        }
    }
    Ok(())
}
