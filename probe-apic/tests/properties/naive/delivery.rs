//! KVM's delivery of one interrupt, as `kvm_set_msi_irq`, `kvm_irq_delivery_to_apic_fast` and
//! `kvm_irq_delivery_to_apic` have it, for a source that is no APIC.

use probe_apic::{
    delivery::{DeliveryMode, Destination, DestinationMode},
    id::VcpuIdx,
    observation::VcpuSample,
};

use super::{Lookup, Map, present, x2apic_mode};
use crate::strategy::Machine;

/// Who gets an interrupt to `dest` with the map of `recalculate`, ascending, and whether KVM scanned for them.
pub(crate) fn deliver(
    machine: &Machine,
    map: Option<&Map>,
    dest: Destination,
    mode: DeliveryMode,
) -> (Vec<VcpuIdx>, bool) {
    let mut dest_id = dest.id & 0xff;
    if machine.x2apic_format {
        dest_id = dest.id;
    }
    let physical = dest.mode == DestinationMode::Physical;
    let vector = match mode {
        DeliveryMode::Fixed => None,
        DeliveryMode::LowestPriority { vector } => Some(usize::from(vector)),
    };
    if let Some(map) = map
        && !is_broadcast(machine, map, dest_id)
        && let Some(found) = dest_lapics(map, dest_id, physical, vector)
    {
        let accepts = |idx: &VcpuIdx| machine.vcpus.iter().any(|vcpu| vcpu.idx == *idx && accepts(vcpu));
        let mut reached: Vec<_> = found.into_iter().filter(accepts).collect();
        reached.sort_unstable();
        reached.dedup();
        return (reached, false);
    }
    let mut matching = Vec::new();
    for vcpu in &machine.vcpus {
        if present(vcpu) && matches(machine, vcpu, dest_id, physical) && vcpu.lapic.sw_enabled {
            matching.push(vcpu.idx);
        }
    }
    if let Some(vector) = vector
        && !(physical && dest_id == 0xff)
        && !matching.is_empty()
    {
        matching = vec![matching[vector % matching.len()]];
    }
    (matching, true)
}

fn accepts(vcpu: &VcpuSample) -> bool {
    present(vcpu) && vcpu.lapic.sw_enabled
}

/// `kvm_apic_is_broadcast_dest`.
fn is_broadcast(machine: &Machine, map: &Map, dest_id: u32) -> bool {
    if machine.broadcast_quirk_disabled {
        (dest_id == 0xff && map.lookup() != Lookup::X2apic) || dest_id == 0xffff_ffff
    } else {
        dest_id == 0xff
    }
}

/// `kvm_apic_map_get_dest_lapic`; `None` where it found nothing useful.
fn dest_lapics(map: &Map, dest_id: u32, physical: bool, vector: Option<usize>) -> Option<Vec<VcpuIdx>> {
    if physical {
        if dest_id > map.max_apic_id {
            return Some(Vec::new());
        }
        return Some(map.phys_map[dest_id as usize].into_iter().collect());
    }
    let (row, mut mask) = map.logical_dest(dest_id)?;
    let array = if map.lookup() == Lookup::X2apic {
        &map.phys_map[..]
    } else {
        &map.logical[..]
    };
    if let Some(vector) = vector
        && mask != 0
    {
        let mut steps = vector % mask.count_ones() as usize;
        let mut lowest = mask.trailing_zeros();
        while steps > 0 {
            lowest = (mask & !0 << (lowest + 1)).trailing_zeros();
            steps -= 1;
        }
        mask = 1 << lowest;
    }
    let mut found = Vec::new();
    for bit in 0..16 {
        if mask & 1 << bit != 0 {
            found.extend(array[row + bit]);
        }
    }
    Some(found)
}

/// `kvm_apic_match_dest`, `kvm_apic_match_physical_addr` and `kvm_apic_match_logical_addr`.
fn matches(machine: &Machine, vcpu: &VcpuSample, dest_id: u32, physical: bool) -> bool {
    let mut mda = dest_id;
    if !machine.broadcast_quirk_disabled && dest_id == 0xff && x2apic_mode(vcpu) {
        mda = 0xffff_ffff;
    }
    if mda == if x2apic_mode(vcpu) { 0xffff_ffff } else { 0xff } {
        return true;
    }
    let lapic = &vcpu.lapic;
    let ldr = lapic.ldr.0;
    if physical {
        if x2apic_mode(vcpu) || mda > 0xff {
            return mda == vcpu.id.0;
        }
        return mda == lapic.id >> 24;
    }
    if x2apic_mode(vcpu) {
        return ldr >> 16 == mda >> 16 && ldr & mda & 0xffff != 0;
    }
    let logical_id = ldr >> 24;
    match lapic.dfr.0 {
        0xffff_ffff => logical_id & mda != 0,
        0x0fff_ffff => logical_id >> 4 == mda >> 4 && logical_id & mda & 0xf != 0,
        _ => false,
    }
}

/// Whether the architecture names `vcpu` for an interrupt to `dest` (SDM vol. 3, "Determining IPI Destination"): much
/// the same as KVM's match, but that a DFR is read by its upper four bits, an x2APIC's ID is what its register says, a
/// destination beyond 8 bits names no xAPIC, and broadcast to x2APICs is broadcast to all.
pub(crate) fn architecture_names(machine: &Machine, vcpu: &VcpuSample, dest: Destination) -> bool {
    if !accepts(vcpu) {
        return false;
    }
    let physical = dest.mode == DestinationMode::Physical;
    if dest.id == 0xffff_ffff {
        return true;
    }
    if dest.id > 0xff && !x2apic_mode(vcpu) {
        return false;
    }
    let mut as_it_should_be = *vcpu;
    as_it_should_be.lapic.dfr.0 |= 0x0fff_ffff;
    as_it_should_be.id.0 = vcpu.lapic.id;
    matches(machine, &as_it_should_be, dest.id, physical)
}
