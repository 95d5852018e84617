//! Whom KVM reaches: by a look-up in its map (`kvm_apic_map_get_dest_lapic`), else by a scan of all vCPUs
//! (`kvm_irq_delivery_to_apic`), as arch/x86/kvm/lapic.c and irq_comm.c (irq.c from 6.16 on) of 5.10 to 7.3 do it.
//!
//! Between those kernels only one thing differs, and [`MapRules`](crate::map_rules::MapRules) tells it: what a map
//! without any logical ID does. The map itself is whatever was published or rebuilt.

use super::{DeliveryMode, Destination, DestinationMode, Fabric};
use crate::{
    id::{ApicId, Slot, VcpuIdx},
    logical_id::Model,
    map::{LogicalAndPhysicalMap, MapMode},
    observation::VcpuSample,
    vcpu_set::VcpuSet,
};

/// Where KVM looks for those that a destination names.
pub(super) enum LookUp<'a> {
    /// At all vCPUs.
    Scan,
    /// In this map.
    Map(&'a LogicalAndPhysicalMap),
    /// Nowhere: the interrupt is dropped.
    Nobody,
}

impl<'a> Fabric<'a> {
    /// The vCPUs whose IRR KVM sets, and whether it scanned for them. APICs that are not enabled may be found, but
    /// `__apic_accept_irq` refuses for them.
    pub(super) fn reach(&self, dest: Destination, mode: DeliveryMode) -> (VcpuSet, bool) {
        let dest = self.as_taken(dest);
        match self.look_up(dest) {
            LookUp::Scan => (self.scan(dest, mode), true),
            LookUp::Map(map) => (self.found_in(map, dest, mode), false),
            LookUp::Nobody => (VcpuSet::new(), false),
        }
    }

    /// The destination that KVM takes from an MSI (`kvm_set_msi_irq`, `x86_msi_msg_get_destid`).
    const fn as_taken(&self, dest: Destination) -> Destination {
        let id = if self.x2apic_format {
            dest.id
        } else {
            dest.id & 0xff
        };
        Destination { id, ..dest }
    }

    /// `kvm_apic_is_broadcast_dest` and the choice of a row, for an interrupt without a source APIC.
    pub(super) fn look_up(&self, dest: Destination) -> LookUp<'a> {
        let Some(map) = self.map else { return LookUp::Scan };
        let broadcast = match dest.id {
            Destination::BROADCAST => !(self.broadcast_quirk_disabled && map.mode == MapMode::X2apic),
            Destination::X2APIC_BROADCAST => self.broadcast_quirk_disabled,
            _ => false,
        };
        match (dest.mode, map.mode) {
            _ if broadcast => LookUp::Scan,
            (DestinationMode::Physical, _) => LookUp::Map(map),
            (_, MapMode::Flat | MapMode::Cluster | MapMode::X2apic) => LookUp::Map(map),
            (_, MapMode::SwDisabled) if self.rules.drops_when_sw_disabled() => LookUp::Nobody,
            (_, MapMode::SwDisabled | MapMode::Mixed | MapMode::Disabled) => LookUp::Scan,
        }
    }

    /// A physical destination has one entry, which gets the interrupt whatever its delivery mode.
    fn found_in(&self, map: &LogicalAndPhysicalMap, dest: Destination, mode: DeliveryMode) -> VcpuSet {
        let entries = match dest.mode {
            DestinationMode::Physical => return self.accepting(map.at_physical_id(ApicId(dest.id))),
            DestinationMode::Logical => row(map, dest.id),
        };
        match mode {
            DeliveryMode::Fixed => self.accepting(entries.into_iter().flatten()),
            DeliveryMode::LowestPriority { vector } => {
                self.accepting(hashed(&entries, vector).copied().flatten())
            }
        }
    }

    /// Those of `found` that accept fixed and lowest-priority interrupts.
    fn accepting(&self, found: impl IntoIterator<Item = VcpuIdx>) -> VcpuSet {
        found.into_iter().filter(|&idx| self.accepts(idx)).collect()
    }

    /// Whether a vCPU's APIC is enabled; one that the sample does not hold is being made or torn down.
    fn accepts(&self, idx: VcpuIdx) -> bool {
        self.vcpus
            .binary_search_by_key(&idx, |vcpu| vcpu.idx)
            .is_ok_and(|at| self.vcpus[at].lapic.enabled())
    }

    /// Physical broadcast of lowest priority is turned into fixed.
    fn scan(&self, dest: Destination, mode: DeliveryMode) -> VcpuSet {
        let matching = self
            .vcpus
            .iter()
            .filter(|vcpu| vcpu.lapic.enabled() && self.matches(vcpu, dest))
            .map(|vcpu| vcpu.idx);
        match mode {
            DeliveryMode::LowestPriority { vector }
                if dest != Destination::physical(Destination::BROADCAST) =>
            {
                let candidates: Vec<VcpuIdx> = matching.collect();
                hashed(&candidates, vector).copied().into_iter().collect()
            }
            _ => matching.collect(),
        }
    }

    /// `kvm_apic_match_dest`, for an interrupt without a source APIC. It compares the bits of a destination that is
    /// too wide for an xAPIC all the same, and knows an x2APIC by its `vcpu_id`.
    fn matches(&self, vcpu: &VcpuSample, dest: Destination) -> bool {
        let lapic = &vcpu.lapic;
        let x2apic = lapic.apic_base.x2apic();
        let broadcast = match dest.id {
            Destination::BROADCAST => !(x2apic && self.broadcast_quirk_disabled),
            Destination::X2APIC_BROADCAST => x2apic,
            _ => false,
        };
        if broadcast {
            return true;
        }
        match dest.mode {
            // For the sake of hot-plugged vCPUs, which start in xAPIC mode whatever their number.
            DestinationMode::Physical if x2apic || dest.id > 0xff => dest.id == vcpu.id.0,
            DestinationMode::Physical => dest.id == lapic.xapic_id(),
            DestinationMode::Logical if x2apic => lapic.ldr.x2apic_matches(dest.id),
            DestinationMode::Logical => {
                let logical_id = u32::from(lapic.xapic_logical_id().0);
                match lapic.dfr.model_of_scan() {
                    Some(Model::Flat) => logical_id & dest.id != 0,
                    Some(Model::Cluster) => {
                        logical_id >> 4 == dest.id >> 4 && logical_id & dest.id & 0xf != 0
                    }
                    None => false,
                }
            }
        }
    }
}

/// The entries that the bits of a logical destination name, ascending by bit, the empty ones too
/// (`kvm_apic_map_get_logical_dest`). It takes the low bits of a destination that is too wide for an xAPIC.
pub(super) fn row(map: &LogicalAndPhysicalMap, id: u32) -> Vec<Option<VcpuIdx>> {
    let bits = |mask: u32| (0..16_u8).filter(move |bit| mask & (1 << bit) != 0);
    let slots = |cluster, mask| bits(mask).map(|bit| map.in_slot(Slot { cluster, bit })).collect();
    match map.mode {
        MapMode::Flat => slots(0, id & 0xff),
        MapMode::Cluster => slots(((id >> 4) & 0xf) as u8, id & 0xf),
        // A cluster's row is a part of phys_map, and ends where that does.
        MapMode::X2apic => bits(id & 0xffff)
            .map(|bit| (id >> 16) * 16 + u32::from(bit))
            .filter(|&apic_id| apic_id <= map.max_apic_id)
            .map(|apic_id| map.at_physical_id(ApicId(apic_id)))
            .collect(),
        MapMode::SwDisabled | MapMode::Mixed | MapMode::Disabled => Vec::new(),
    }
}

/// Vector hashing (`kvm_vector_to_index`): the (vector mod n)-th of n.
pub(super) fn hashed<T>(candidates: &[T], vector: u8) -> Option<&T> {
    let at = usize::from(vector).checked_rem(candidates.len())?;
    candidates.get(at)
}
