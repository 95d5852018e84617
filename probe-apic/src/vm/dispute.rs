//! Why one sample is not enough to say that published and rebuilt map diverge.
//!
//! KVM stores a register first and marks the map dirty later; between the two it may sleep for milliseconds
//! (`apic_set_spiv` and `__kvm_apic_set_base` patch static keys, arch/x86/kvm/lapic.c, 5.10 to 7.3). Meanwhile
//! the map looks clean and is not what the registers call for. The recalculation that ends this is sure to come,
//! so a divergence counts once it has stood for a while without one.

use crate::{id::BootTime, observation::VmSample, rebuild::Rebuild};

/// How long a divergence must stand without a recalculation: 50 ms.
const CONFIRMED_AFTER_NANOS: u64 = 50_000_000;

/// A divergence that was seen but not confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dispute {
    since: BootTime,
    recalculations: u64,
}

impl Dispute {
    /// Whether `sample` diverges and is not to be believed yet. `compared` is what the rules make of it; `None`
    /// where there is nothing new to compare.
    pub(super) fn is_open(
        dispute: &mut Option<Self>,
        sample: &VmSample,
        compared: &Option<(Rebuild, Option<bool>)>,
    ) -> bool {
        let diverges = matches!(compared, Some((_, Some(false))));
        let same = dispute.filter(|dispute| dispute.recalculations == sample.recalculations);
        let since = same.map_or(sample.at, |dispute| dispute.since);
        let confirmed = sample.at.since(since) >= CONFIRMED_AFTER_NANOS;
        let open = diverges && !confirmed;
        *dispute = open.then_some(Self {
            since,
            recalculations: sample.recalculations,
        });
        open
    }
}
