//! Who answers to each bit of an 8-bit logical destination: one pass over the vCPUs (or the map) serves every
//! destination.
//!
//! Only vCPUs that accept fixed interrupts are entered, since nobody else's IRR is ever set.

use crate::{
    id::VcpuIdx,
    lapic::Lapic,
    logical_id::{Model, NamedSlots},
    map::{LogicalAndPhysicalMap, MapMode},
    observation::VcpuSample,
    reg::Dfr,
    vcpu_set::VcpuSet,
};

/// The answering vCPUs, by what they answer to.
#[derive(Clone, Debug, Default)]
pub(super) struct Responders {
    flat: [VcpuSet; 8],
    cluster: Box<[[VcpuSet; 4]; 16]>,
    /// Bits 0-7 of x2APIC cluster 0: all that an 8-bit destination can name.
    x2apic: [VcpuSet; 8],
    all_xapic: VcpuSet,
    all_x2apic: VcpuSet,
    in_use: InUse,
}

/// Which rows have members at all.
#[derive(Clone, Copy, Debug, Default)]
struct InUse {
    flat: bool,
    cluster: bool,
    x2apic: bool,
}

impl Responders {
    /// Who answers by the SDM: the DFR's model is in bits 31:28.
    pub(super) fn by_architecture(vcpus: &[VcpuSample]) -> Self {
        Self::by_registers(vcpus, Dfr::model)
    }

    /// Who answers in KVM's scan (`kvm_apic_match_logical_addr`): the DFR is compared as a whole.
    pub(super) fn by_scan(vcpus: &[VcpuSample]) -> Self {
        Self::by_registers(vcpus, Dfr::model_of_scan)
    }

    fn by_registers(vcpus: &[VcpuSample], model: fn(Dfr) -> Option<Model>) -> Self {
        let mut responders = Self::default();
        for vcpu in vcpus.iter().filter(|vcpu| vcpu.lapic.enabled()) {
            responders.enter(vcpu.idx, &vcpu.lapic, model);
        }
        responders
    }

    fn enter(&mut self, idx: VcpuIdx, lapic: &Lapic, model: fn(Dfr) -> Option<Model>) {
        if lapic.apic_base.x2apic() {
            self.all_x2apic.insert(idx);
            if lapic.ldr.x2apic_cluster() == 0 {
                self.enter_x2apic(idx, lapic.ldr.x2apic_bits());
            }
        } else {
            self.all_xapic.insert(idx);
            if let Some(model) = model(lapic.dfr) {
                self.enter_xapic(idx, lapic.xapic_logical_id().named_under(model));
            }
        }
    }

    /// Who is in the map's rows, of those that accept fixed interrupts.
    pub(super) fn by_map(vcpus: &[VcpuSample], map: &LogicalAndPhysicalMap) -> Self {
        let accepts = |idx: VcpuIdx| {
            vcpus
                .binary_search_by_key(&idx, |vcpu| vcpu.idx)
                .is_ok_and(|at| vcpus[at].lapic.enabled())
        };
        let mut responders = Self::default();
        let model = match map.mode {
            MapMode::Flat => Model::Flat,
            MapMode::Cluster => Model::Cluster,
            // The row of x2APIC cluster 0 is the start of phys_map.
            MapMode::X2apic => {
                let row = map.physical.iter().take_while(|(id, _)| id.0 < 8);
                for &(id, idx) in row.filter(|&&(_, idx)| accepts(idx)) {
                    responders.enter_x2apic(idx, 1 << id.0);
                }
                return responders;
            }
            MapMode::SwDisabled | MapMode::Mixed | MapMode::Disabled => return responders,
        };
        for &(slot, idx) in map
            .slots
            .iter()
            .filter(|&&(slot, idx)| slot.bit < 8 && accepts(idx))
        {
            let cluster = slot.cluster & 0xf;
            responders.enter_xapic(
                idx,
                NamedSlots {
                    model,
                    cluster,
                    bits: 1 << slot.bit,
                },
            );
        }
        responders
    }

    fn enter_xapic(&mut self, idx: VcpuIdx, named: NamedSlots) {
        match named.model {
            Model::Flat => {
                self.in_use.flat = true;
                insert_at_bits(&mut self.flat, named.bits, idx);
            }
            Model::Cluster => {
                self.in_use.cluster = true;
                insert_at_bits(&mut self.cluster[usize::from(named.cluster)], named.bits, idx);
            }
        }
    }

    fn enter_x2apic(&mut self, idx: VcpuIdx, bits: u16) {
        self.in_use.x2apic = true;
        insert_at_bits(&mut self.x2apic, (bits & 0xff) as u8, idx);
    }

    /// Who answers to `dest` where 255 is no broadcast: the rows of a map.
    pub(super) fn answer(&self, dest: u8) -> VcpuSet {
        let mut answering = VcpuSet::new();
        if self.in_use.flat {
            union_at_bits(&mut answering, &self.flat, dest);
        }
        if self.in_use.cluster {
            union_at_bits(&mut answering, &self.cluster[usize::from(dest >> 4)], dest & 0xf);
        }
        if self.in_use.x2apic {
            union_at_bits(&mut answering, &self.x2apic, dest);
        }
        answering
    }

    /// Who answers to an MSI to `dest`: 255 is broadcast to every xAPIC, and to every x2APIC unless userspace
    /// disabled that quirk (`kvm_apic_mda`).
    pub(super) fn answer_msi(&self, dest: u8, broadcast_quirk_disabled: bool) -> VcpuSet {
        if dest != 0xff {
            return self.answer(dest);
        }
        let mut answering = self.all_xapic.clone();
        if broadcast_quirk_disabled {
            union_at_bits(&mut answering, &self.x2apic, dest);
        } else {
            answering.union_with(&self.all_x2apic);
        }
        answering
    }
}

fn insert_at_bits(row: &mut [VcpuSet], bits: u8, idx: VcpuIdx) {
    for (bit, members) in row.iter_mut().enumerate() {
        if bits & (1 << bit) != 0 {
            members.insert(idx);
        }
    }
}

fn union_at_bits(answering: &mut VcpuSet, row: &[VcpuSet], bits: u8) {
    for (bit, members) in row.iter().enumerate() {
        if bits & (1 << bit) != 0 {
            answering.union_with(members);
        }
    }
}
