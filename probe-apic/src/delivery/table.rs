//! The whole table of 8-bit destinations of one mode, computed from two passes over the vCPUs and one over the map.
//!
//! The same rules as for a single destination, arranged for the judgement of a VM, which asks for all of them.

use super::{
    Delivery, DeliveryMode, Destination, DestinationMode, Fabric, Verdict, kvm::LookUp,
    responders::Responders,
};
use crate::vcpu_set::VcpuSet;

/// Fixed deliveries to destinations 0-255.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deliveries {
    rows: Vec<Delivery>,
}

impl Deliveries {
    /// Computes the table. Each row equals what [`Fabric::deliver`] says of its destination.
    #[must_use]
    pub fn compute(fabric: &Fabric<'_>, mode: DestinationMode) -> Self {
        let quirk_disabled = fabric.broadcast_quirk_disabled;
        let architecture = Responders::by_architecture(fabric.vcpus, mode);
        let scan = Responders::by_scan(fabric.vcpus, mode);
        let map = fabric.map.map(|map| Responders::by_map(fabric, map, mode));
        let rows = (0..=u8::MAX)
            .map(|id| {
                let dest = Destination {
                    mode,
                    id: u32::from(id),
                };
                let (kvm, scanned) = match (fabric.look_up(dest), &map) {
                    (LookUp::Map(_), Some(map)) => (map.answer(id), false),
                    (LookUp::Nobody, _) => (VcpuSet::new(), false),
                    _ => (scan.answer_msi(id, quirk_disabled), true),
                };
                let architecture = architecture.answer_msi(id, quirk_disabled);
                Delivery::new(architecture, kvm, scanned, dest, DeliveryMode::Fixed)
            })
            .collect();
        Self { rows }
    }

    /// What becomes of an interrupt to `dest`.
    #[must_use]
    pub fn to(&self, dest: u8) -> &Delivery {
        &self.rows[usize::from(dest)]
    }

    /// How it compares with what should become of it.
    #[must_use]
    pub fn verdict(&self, dest: u8) -> Verdict {
        self.to(dest).verdict
    }
}
