//! The whole table of 8-bit logical destinations, computed from one pass over the vCPUs and one over the map.
//!
//! The same rules as for a single destination, arranged for the judgement of a VM, which asks for all of them.

use super::{Fabric, LookUp, Verdict, compare, responders::Responders};
use crate::vcpu_set::VcpuSet;

/// Deliveries and verdicts of destinations 0-255, logical mode, fixed delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deliveries {
    rows: Vec<Row>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    architecture: VcpuSet,
    kvm: VcpuSet,
    scanned: bool,
    verdict: Verdict,
}

impl Deliveries {
    /// Computes the table. Each row equals what [`super::architecture`], [`super::kvm`] and
    /// [`super::verdict`] say of its destination.
    #[must_use]
    pub fn compute(fabric: &Fabric<'_>) -> Self {
        let quirk_disabled = fabric.broadcast_quirk_disabled;
        let architecture = Responders::by_architecture(fabric.vcpus);
        let scan = Responders::by_scan(fabric.vcpus);
        let map = fabric.map.map(|map| Responders::by_map(fabric.vcpus, map));
        let rows = (0..=u8::MAX)
            .map(|dest| {
                let (kvm, scanned) = match (fabric.look_up(dest), &map) {
                    (LookUp::Row(_), Some(map)) => (map.answer(dest), false),
                    (LookUp::Nobody, _) => (VcpuSet::new(), false),
                    _ => (scan.answer_msi(dest, quirk_disabled), true),
                };
                let architecture = architecture.answer_msi(dest, quirk_disabled);
                let verdict = compare(&architecture, &kvm, scanned && dest != u8::MAX);
                Row {
                    architecture,
                    kvm,
                    scanned,
                    verdict,
                }
            })
            .collect();
        Self { rows }
    }

    /// Who should get an interrupt sent to `dest`.
    #[must_use]
    pub fn architecture(&self, dest: u8) -> &VcpuSet {
        &self.rows[usize::from(dest)].architecture
    }

    /// Who gets it from KVM.
    #[must_use]
    pub fn kvm(&self, dest: u8) -> &VcpuSet {
        &self.rows[usize::from(dest)].kvm
    }

    /// Whether KVM scans all vCPUs for it.
    #[must_use]
    pub fn scanned(&self, dest: u8) -> bool {
        self.rows[usize::from(dest)].scanned
    }

    /// How the two compare.
    #[must_use]
    pub fn verdict(&self, dest: u8) -> Verdict {
        self.rows[usize::from(dest)].verdict
    }
}
