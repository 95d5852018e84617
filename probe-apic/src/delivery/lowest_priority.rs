//! Lowest-priority delivery through a map's slots, as far as severity needs it: whom vector hashing picks.
//!
//! `kvm_apic_map_get_dest_lapic` (arch/x86/kvm/lapic.c, 5.10 to 7.3) with the module parameter
//! `vector_hashing` at its default takes the (vector mod n)-th of the n bits that the destination sets,
//! whether or not its slot is populated.

use super::{Fabric, LookUp};
use crate::{
    id::{Slot, VcpuIdx},
    map::MapMode,
};

/// What becomes of a lowest-priority interrupt that a map's row is looked up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Picked {
    /// This vCPU takes it.
    Vcpu(VcpuIdx),
    /// The slot is empty, or its APIC refuses: it is dropped.
    Nobody,
    /// No slot decides: a scan, or x2APIC.
    NotBySlot,
}

impl Fabric<'_> {
    /// Whom a lowest-priority interrupt with `vector` to the logical destination `dest` goes to.
    pub(crate) fn lowest_priority(&self, dest: u8, vector: u8) -> Picked {
        let LookUp::Row(map) = self.look_up(dest) else {
            return Picked::NotBySlot;
        };
        let (cluster, mask) = match map.mode {
            MapMode::Flat => (0, dest),
            MapMode::Cluster => (dest >> 4, dest & 0xf),
            _ => return Picked::NotBySlot,
        };
        let named = (0..8).filter(|bit| mask & (1 << bit) != 0);
        let count = mask.count_ones() as usize;
        let picked = named.cycle().nth(usize::from(vector) % count.max(1));
        let slot = picked.map(|bit| Slot { cluster, bit });
        let owner = slot.and_then(|slot| map.slots.iter().find(|&&(entry, _)| entry == slot));
        let accepts = |&&(_, idx): &&(Slot, VcpuIdx)| {
            let vcpu = self.vcpus.iter().find(|vcpu| vcpu.idx == idx);
            vcpu.is_some_and(|vcpu| vcpu.lapic.enabled())
        };
        owner
            .filter(accepts)
            .map_or(Picked::Nobody, |&(_, idx)| Picked::Vcpu(idx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fixture, map_rules::MapRules, rebuild::rebuild, reg::Ldr};

    #[test]
    fn vector_hashing_picks_a_bit_of_the_destination_populated_or_not() {
        let mut vcpus = fixture::clean_flat(3);
        // Under `overwrite` a multi-bit LDR leaves its upper bits' slots empty.
        vcpus[2].lapic.ldr = Ldr(0x0c00_0000);
        let rebuilt = rebuild(&vcpus, false, MapRules::Overwrite);
        let fabric = Fabric {
            vcpus: &vcpus,
            map: rebuilt.map.as_ref(),
            rules: MapRules::Overwrite,
            broadcast_quirk_disabled: false,
        };
        assert_eq!(fabric.lowest_priority(0x0c, 0x30), Picked::Vcpu(VcpuIdx(2)));
        assert_eq!(fabric.lowest_priority(0x0c, 0x31), Picked::Nobody);
        assert_eq!(fabric.lowest_priority(0x07, 0x31), Picked::Vcpu(VcpuIdx(1)));
        assert_eq!(fabric.lowest_priority(0x00, 0x31), Picked::Nobody);
        assert_eq!(fabric.lowest_priority(0xff, 0x31), Picked::NotBySlot);
    }
}
