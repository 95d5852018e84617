//! Whom a destination names by the SDM (vol. 3, "Determining IPI Destination"), one local APIC at a time.
//!
//! Each APIC reads a message under its own mode, so that VMs of mixed modes have an answer too:
//! - An xAPIC compares 8 bits. A destination that does not fit them names no xAPIC.
//! - An x2APIC compares 32 bits. The 0xFF of a device's 8-bit destination field broadcasts to it as well, unless
//!   userspace disabled that quirk of KVM's, which stands in for interrupt remapping.
//! - 0xFFFFFFFF is broadcast to everybody.

use super::{Destination, DestinationMode};
use crate::{lapic::Lapic, logical_id::Model, observation::VcpuSample, vcpu_set::VcpuSet};

/// The hardware- and software-enabled vCPUs that `dest` names.
pub(super) fn named(vcpus: &[VcpuSample], dest: Destination, broadcast_quirk_disabled: bool) -> VcpuSet {
    let named = |lapic: &Lapic| match dest.id {
        Destination::X2APIC_BROADCAST => true,
        Destination::BROADCAST if lapic.apic_base.x2apic() && !broadcast_quirk_disabled => true,
        _ if lapic.apic_base.x2apic() => x2apic_is_named(lapic, dest),
        _ => u8::try_from(dest.id).is_ok_and(|id| xapic_is_named(lapic, dest.mode, id)),
    };
    vcpus
        .iter()
        .filter(|vcpu| vcpu.lapic.enabled() && named(&vcpu.lapic))
        .map(|vcpu| vcpu.idx)
        .collect()
}

fn x2apic_is_named(lapic: &Lapic, dest: Destination) -> bool {
    match dest.mode {
        DestinationMode::Physical => lapic.id == dest.id,
        DestinationMode::Logical => lapic.ldr.x2apic_matches(dest.id),
    }
}

/// The DFR's model is in bits 31:28; an APIC with any other model is named by broadcast alone.
fn xapic_is_named(lapic: &Lapic, mode: DestinationMode, id: u8) -> bool {
    if u32::from(id) == Destination::BROADCAST {
        return true;
    }
    let logical_id = lapic.xapic_logical_id().0;
    match (mode, lapic.dfr.model()) {
        (DestinationMode::Physical, _) => lapic.xapic_id() == u32::from(id),
        (DestinationMode::Logical, Some(Model::Flat)) => logical_id & id != 0,
        (DestinationMode::Logical, Some(Model::Cluster)) => {
            logical_id >> 4 == id >> 4 && logical_id & id & 0xf != 0
        }
        (DestinationMode::Logical, None) => false,
    }
}
