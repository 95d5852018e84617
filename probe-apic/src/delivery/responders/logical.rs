//! Who answers to each bit of an 8-bit logical destination.

use crate::{
    id::VcpuIdx,
    logical_id::{Model, NamedSlots},
    map::{LogicalAndPhysicalMap, MapMode},
    observation::VcpuSample,
    reg::Dfr,
    vcpu_set::VcpuSet,
};

/// The answering vCPUs by slot.
#[derive(Clone, Debug, Default)]
pub(super) struct LogicalRows {
    flat: [VcpuSet; 8],
    cluster: [[VcpuSet; 4]; 16],
    /// Bits 0-7 of x2APIC cluster 0: all that an 8-bit destination can name.
    x2apic: [VcpuSet; 8],
    in_use: InUse,
}

/// Which rows have members at all.
#[derive(Clone, Copy, Debug, Default)]
struct InUse {
    flat: bool,
    cluster: bool,
    x2apic: bool,
}

impl LogicalRows {
    /// Enters a vCPU where its registers say, its DFR read by `model`.
    pub(super) fn enter(&mut self, vcpu: &VcpuSample, model: impl Fn(Dfr) -> Option<Model>) {
        let (idx, lapic) = (vcpu.idx, &vcpu.lapic);
        if lapic.apic_base.x2apic() {
            if lapic.ldr.x2apic_cluster() == 0 {
                self.enter_x2apic(idx, lapic.ldr.x2apic_bits());
            }
        } else if let Some(model) = model(lapic.dfr) {
            self.enter_xapic(idx, lapic.xapic_logical_id().named_under(model));
        }
    }

    /// Enters what a map's rows have, as far as `accepts` says.
    pub(super) fn enter_map(&mut self, map: &LogicalAndPhysicalMap, accepts: impl Fn(VcpuIdx) -> bool) {
        let model = match map.mode {
            MapMode::Flat => Model::Flat,
            MapMode::Cluster => Model::Cluster,
            // The row of x2APIC cluster 0 is the start of phys_map.
            MapMode::X2apic => {
                let row = map.physical.iter().take_while(|(id, _)| id.0 < 8);
                for &(id, idx) in row.filter(|&&(_, idx)| accepts(idx)) {
                    self.enter_x2apic(idx, 1 << id.0);
                }
                return;
            }
            MapMode::SwDisabled | MapMode::Mixed | MapMode::Disabled => return,
        };
        for &(slot, idx) in map
            .slots
            .iter()
            .filter(|&&(slot, idx)| slot.bit < 8 && accepts(idx))
        {
            let cluster = slot.cluster & 0xf;
            self.enter_xapic(
                idx,
                NamedSlots {
                    model,
                    cluster,
                    bits: 1 << slot.bit,
                },
            );
        }
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

    pub(super) fn answer(&self, dest: u8) -> VcpuSet {
        let mut answering = self.answer_x2apic(dest);
        if self.in_use.flat {
            union_at_bits(&mut answering, &self.flat, dest);
        }
        if self.in_use.cluster {
            union_at_bits(&mut answering, &self.cluster[usize::from(dest >> 4)], dest & 0xf);
        }
        answering
    }

    /// The x2APICs among them.
    pub(super) fn answer_x2apic(&self, dest: u8) -> VcpuSet {
        let mut answering = VcpuSet::new();
        if self.in_use.x2apic {
            union_at_bits(&mut answering, &self.x2apic, dest);
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
