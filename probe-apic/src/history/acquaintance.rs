//! The histories of a VM's vCPUs, found by number.

use std::collections::BTreeMap;

use super::vcpu::VcpuHistory;
use crate::id::VcpuId;

/// In the order in which they became known, for that is the order of their numbers on nearly every VM: a vCPU is looked for
/// at its number's place first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Acquaintance {
    vcpus: Vec<VcpuHistory>,
    places: BTreeMap<VcpuId, usize>,
}

impl Acquaintance {
    pub(super) const fn new() -> Self {
        Self {
            vcpus: Vec::new(),
            places: BTreeMap::new(),
        }
    }

    pub(super) fn get(&self, id: VcpuId) -> Option<&VcpuHistory> {
        self.vcpus.get(self.place(id)?)
    }

    pub(super) fn get_mut(&mut self, id: VcpuId) -> Option<&mut VcpuHistory> {
        let place = self.place(id)?;
        self.vcpus.get_mut(place)
    }

    /// The history of a vCPU, that which `begin` gives where there is none yet.
    pub(super) fn get_or_begin(
        &mut self,
        id: VcpuId,
        begin: impl FnOnce() -> VcpuHistory,
    ) -> &mut VcpuHistory {
        let place = self.place(id).unwrap_or_else(|| {
            let place = self.vcpus.len();
            self.places.insert(id, place);
            self.vcpus.push(begin());
            place
        });
        &mut self.vcpus[place]
    }

    fn place(&self, id: VcpuId) -> Option<usize> {
        let guess = usize::try_from(id.0).ok()?;
        match self.vcpus.get(guess) {
            Some(vcpu) if vcpu.id() == id => Some(guess),
            _ => self.places.get(&id).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vcpus_are_found_whatever_the_order_in_which_they_came() {
        let mut vcpus = Acquaintance::new();
        let ids = [1, 0, 2, 700, u32::MAX, 5].map(VcpuId);
        for id in ids {
            vcpus.get_or_begin(id, || VcpuHistory::born(id));
        }
        for id in ids {
            assert_eq!(vcpus.get(id).map(VcpuHistory::id), Some(id));
            let again = vcpus.get_or_begin(id, || unreachable!("{id} is known"));
            assert_eq!(again.id(), id);
        }
        assert!([3, 4, 6].into_iter().all(|id| vcpus.get(VcpuId(id)).is_none()));
    }
}
