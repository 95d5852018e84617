//! To which 8-bit destinations one vCPU answers, by its registers.
//!
//! Only vCPUs that accept fixed interrupts are asked, since nobody else's IRR is ever set.

use super::{Destination, DestinationMode, destination_set::DestinationSet};
use crate::{lapic::Lapic, logical_id::Model, observation::VcpuSample, reg::Dfr};

/// Whose reading of the registers decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// The SDM's: the DFR's model is in bits 31:28, an x2APIC's ID in its register.
    Sdm,
    /// KVM's scan (`kvm_apic_match_dest`): the DFR is compared as a whole, an x2APIC's ID is the `vcpu_id`.
    Scan,
}

impl Reading {
    /// What an enabled vCPU answers to. 255 is broadcast to every xAPIC, and to every x2APIC unless userspace disabled that
    /// quirk (`kvm_apic_mda`).
    pub(super) fn answered(
        self,
        vcpu: &VcpuSample,
        mode: DestinationMode,
        broadcast_quirk_disabled: bool,
    ) -> DestinationSet {
        const BROADCAST: DestinationSet = DestinationSet::of(Destination::BROADCAST as u8);
        let named = match mode {
            DestinationMode::Logical => self.named_logically(&vcpu.lapic),
            DestinationMode::Physical => {
                u8::try_from(self.physical_id(vcpu)).map_or(DestinationSet::NONE, DestinationSet::of)
            }
        };
        if vcpu.lapic.apic_base.x2apic() && broadcast_quirk_disabled {
            named
        } else {
            named | BROADCAST
        }
    }

    fn named_logically(self, lapic: &Lapic) -> DestinationSet {
        if lapic.apic_base.x2apic() {
            return match lapic.ldr.x2apic_cluster() {
                // Eight bits of cluster 0 are all that an 8-bit destination can name.
                0 => DestinationSet::sharing_a_bit((lapic.ldr.x2apic_bits() & 0xff) as u8),
                _ => DestinationSet::NONE,
            };
        }
        let model = self.model(lapic.dfr);
        model.map_or(DestinationSet::NONE, |model| {
            DestinationSet::naming(lapic.xapic_logical_id().named_under(model))
        })
    }

    const fn model(self, dfr: Dfr) -> Option<Model> {
        match self {
            Self::Sdm => dfr.model(),
            Self::Scan => dfr.model_of_scan(),
        }
    }

    const fn physical_id(self, vcpu: &VcpuSample) -> u32 {
        let lapic: &Lapic = &vcpu.lapic;
        match (lapic.apic_base.x2apic(), self) {
            (false, _) => lapic.xapic_id(),
            (true, Self::Sdm) => lapic.id,
            (true, Self::Scan) => vcpu.id.0,
        }
    }
}
