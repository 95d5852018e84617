//! Who answers to each 8-bit destination: one pass over the vCPUs (or the map) serves every destination.
//!
//! Only vCPUs that accept fixed interrupts are entered, since nobody else's IRR is ever set. Broadcast is kept here;
//! what else a destination names is left to [`logical`] and [`physical`].

use super::{Destination, DestinationMode, Fabric};
use crate::{
    lapic::Lapic, logical_id::Model, map::LogicalAndPhysicalMap, observation::VcpuSample, reg::Dfr,
    vcpu_set::VcpuSet,
};

mod logical;
mod physical;

use logical::LogicalRows;
use physical::PhysicalRows;

/// The answering vCPUs, by what they answer to.
#[derive(Clone, Debug)]
pub(super) struct Responders {
    rows: Rows,
    all_xapic: VcpuSet,
    all_x2apic: VcpuSet,
}

/// Those that a destination names other than by broadcast.
#[derive(Clone, Debug)]
enum Rows {
    Logical(Box<LogicalRows>),
    Physical(PhysicalRows),
}

/// Whose reading of the registers decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// The SDM's: the DFR's model is in bits 31:28, an x2APIC's ID in its register.
    Sdm,
    /// KVM's scan (`kvm_apic_match_dest`): the DFR is compared as a whole, an x2APIC's ID is the `vcpu_id`.
    Scan,
}

impl Reading {
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

impl Responders {
    pub(super) fn by_architecture(vcpus: &[VcpuSample], mode: DestinationMode) -> Self {
        Self::by_registers(vcpus, mode, Reading::Sdm)
    }

    pub(super) fn by_scan(vcpus: &[VcpuSample], mode: DestinationMode) -> Self {
        Self::by_registers(vcpus, mode, Reading::Scan)
    }

    fn by_registers(vcpus: &[VcpuSample], mode: DestinationMode, reading: Reading) -> Self {
        let mut responders = Self::none(mode);
        for vcpu in vcpus.iter().filter(|vcpu| vcpu.lapic.enabled()) {
            let all = if vcpu.lapic.apic_base.x2apic() {
                &mut responders.all_x2apic
            } else {
                &mut responders.all_xapic
            };
            all.insert(vcpu.idx);
            match &mut responders.rows {
                Rows::Logical(rows) => rows.enter(vcpu, |dfr| reading.model(dfr)),
                Rows::Physical(rows) => rows.enter(reading.physical_id(vcpu), vcpu.idx),
            }
        }
        responders
    }

    /// Who is in the map, of those that accept fixed interrupts.
    pub(super) fn by_map(fabric: &Fabric<'_>, map: &LogicalAndPhysicalMap, mode: DestinationMode) -> Self {
        let mut responders = Self::none(mode);
        match &mut responders.rows {
            Rows::Logical(rows) => rows.enter_map(map, |idx| fabric.accepts(idx)),
            Rows::Physical(rows) => {
                for &(id, idx) in map.physical.iter().filter(|&&(_, idx)| fabric.accepts(idx)) {
                    rows.enter(id.0, idx);
                }
            }
        }
        responders
    }

    fn none(mode: DestinationMode) -> Self {
        let rows = match mode {
            DestinationMode::Logical => Rows::Logical(Box::default()),
            DestinationMode::Physical => Rows::Physical(PhysicalRows::default()),
        };
        Self {
            rows,
            all_xapic: VcpuSet::new(),
            all_x2apic: VcpuSet::new(),
        }
    }

    /// Who answers to `dest` where 255 is no broadcast: the rows of a map.
    pub(super) fn answer(&self, dest: u8) -> VcpuSet {
        match &self.rows {
            Rows::Logical(rows) => rows.answer(dest),
            Rows::Physical(rows) => rows.answer(dest),
        }
    }

    /// Who answers to an MSI to `dest`: 255 is broadcast to every xAPIC, and to every x2APIC unless userspace
    /// disabled that quirk (`kvm_apic_mda`).
    pub(super) fn answer_msi(&self, dest: u8, broadcast_quirk_disabled: bool) -> VcpuSet {
        if u32::from(dest) != Destination::BROADCAST {
            return self.answer(dest);
        }
        let mut answering = self.all_xapic.clone();
        if broadcast_quirk_disabled {
            let x2apics = match &self.rows {
                Rows::Logical(rows) => rows.answer_x2apic(dest),
                // An xAPIC whose ID is 255 is in `all_xapic` anyway.
                Rows::Physical(rows) => rows.answer(dest),
            };
            answering.union_with(&x2apics);
        } else {
            answering.union_with(&self.all_x2apic);
        }
        answering
    }
}
