//! `phys_map` under construction: physical APIC ID to vCPU, sparse and ordered.
//!
//! Who may take an ID from whom is a matter of the map rules and left to [`super`].

use std::collections::BTreeMap;

use crate::{
    id::{ApicId, VcpuIdx},
    reg::Ldr,
};

/// Kept as sorted entries rather than as KVM's array: IDs come almost always in ascending order, the entries
/// are the result as they stand, and an absurd ID from a damaged record asks for no memory.
pub(super) struct PhysicalMap {
    max_apic_id: u32,
    entries: Vec<(ApicId, VcpuIdx)>,
    /// Those that came after a higher one: to move all that are above them would take the longer the more there are.
    late: BTreeMap<ApicId, VcpuIdx>,
}

impl PhysicalMap {
    pub(super) fn new(max_apic_id: u32, vcpus: usize) -> Self {
        Self {
            max_apic_id,
            entries: Vec::with_capacity(vcpus),
            late: BTreeMap::new(),
        }
    }

    pub(super) fn get(&self, id: ApicId) -> Option<VcpuIdx> {
        match self.find(id) {
            Place::Taken(at) => Some(self.entries[at].1),
            Place::Late => self.late.get(&id).copied(),
            Place::Next => None,
        }
    }

    /// Enters `vcpu` under `id`, in place of whoever had it.
    pub(super) fn put(&mut self, id: ApicId, vcpu: VcpuIdx) {
        match self.find(id) {
            Place::Taken(at) => self.entries[at].1 = vcpu,
            Place::Late => {
                self.late.insert(id, vcpu);
            }
            Place::Next => self.entries.push((id, vcpu)),
        }
    }

    /// Enters `vcpu` as the x2APIC logical step before 6.3 does: the cluster's row aliases `phys_map`, so the
    /// lowest bit of `ldr` that lies within the map is a physical ID.
    pub(super) fn put_in_row(&mut self, ldr: Ldr, vcpu: VcpuIdx) {
        let row = u32::from(ldr.x2apic_cluster()) * 16;
        let id = row + u32::from(ldr.x2apic_bits()).trailing_zeros();
        if ldr.x2apic_bits() != 0 && id <= self.max_apic_id {
            self.put(ApicId(id), vcpu);
        }
    }

    /// The entries, ascending by ID, and the highest index of `phys_map`.
    pub(super) fn into_entries(mut self) -> (Vec<(ApicId, VcpuIdx)>, u32) {
        if !self.late.is_empty() {
            self.entries.extend(self.late);
            // Two ascending runs, which this sort finds and merges.
            self.entries.sort_by_key(|&(id, _)| id);
        }
        (self.entries, self.max_apic_id)
    }

    fn find(&self, id: ApicId) -> Place {
        match self.entries.last() {
            Some(&(last, _)) if last >= id => self
                .entries
                .binary_search_by_key(&id, |&(id, _)| id)
                .map_or(Place::Late, Place::Taken),
            _ => Place::Next,
        }
    }
}

/// Where an ID belongs.
enum Place {
    /// At this place of the entries, where it is already.
    Taken(usize),
    /// Behind all of them.
    Next,
    /// Among them, where it is not.
    Late,
}
