//! `--interrupts`, for the verbs that have it: what is asked for, and what it costs, said as it is switched on.

use crate::{cli::Observe, observer::ObserverOptions};

/// What counting one interrupt takes, at most, of the guest that sends it or of the VMM: `lab-case bench --only logical,logical-msi`.
const BY_FENTRY: u32 = 550;
const BY_KPROBE: u32 = 1300;

/// The options of an observer that counts interrupts, or does not.
pub(super) fn options(observe: &Observe, interrupts: bool) -> ObserverOptions {
    if interrupts {
        log::info!(
            "counting the interrupts to logical destinations: each costs its sender some {BY_FENTRY} instructions, or some {BY_KPROBE} \
             where fentry programs cannot be had; each CPU counts at most 10,000 a second"
        );
    }
    ObserverOptions {
        interrupts,
        ..observe.options()
    }
}
