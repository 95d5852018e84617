//! Who the VMs are, and which of them go by a UUID that another has.

use std::collections::{BTreeMap, BTreeSet};

use probe_apic::id::VmId;

use crate::identity::VmIdentity;

/// The VMs' identities.
#[derive(Debug, Default)]
pub(super) struct Identities {
    by_vm: BTreeMap<VmId, VmIdentity>,
    /// The VMs that go by each UUID as the first to have it.
    by_uuid: BTreeMap<String, BTreeSet<VmId>>,
}

impl Identities {
    pub(super) fn get(&self, vm: VmId) -> Option<&VmIdentity> {
        self.by_vm.get(&vm)
    }

    /// A copy, for whoever tells of a VM; of one that is not known, what is to be said of it all the same.
    pub(super) fn told(&self, vm: VmId) -> VmIdentity {
        self.get(vm).cloned().unwrap_or_else(VmIdentity::unknown)
    }

    /// All of them, by VM.
    pub(super) fn iter(&self) -> impl Iterator<Item = (VmId, &VmIdentity)> + Clone {
        self.by_vm.iter().map(|(&vm, identity)| (vm, identity))
    }

    /// Whether a VM other than this one goes by `uuid` as the first to have it.
    pub(super) fn has_other_with(&self, uuid: &str, vm: VmId) -> bool {
        self.by_uuid
            .get(uuid)
            .is_some_and(|holders| holders.iter().any(|&holder| holder != vm))
    }

    /// Enters a VM, in place of what was known of it.
    pub(super) fn insert(&mut self, vm: VmId, identity: VmIdentity) {
        self.remove(vm);
        if let Some(uuid) = identity.uuid.as_ref().filter(|_| !identity.twin) {
            self.by_uuid.entry(uuid.clone()).or_default().insert(vm);
        }
        self.by_vm.insert(vm, identity);
    }

    /// Takes a VM out.
    pub(super) fn remove(&mut self, vm: VmId) {
        let Some(uuid) = self.by_vm.remove(&vm).and_then(|identity| identity.uuid) else {
            return;
        };
        if let Some(holders) = self.by_uuid.get_mut(&uuid) {
            holders.remove(&vm);
            if holders.is_empty() {
                self.by_uuid.remove(&uuid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use probe_apic::id::BootTime;

    use super::*;

    fn identity(uuid: &str, twin: bool) -> VmIdentity {
        VmIdentity {
            uuid: Some(uuid.to_owned()),
            twin,
            ..VmIdentity::seen(BootTime(0))
        }
    }

    #[test]
    fn a_uuid_is_taken_by_the_first_vm_alone_and_free_once_that_is_gone() {
        let mut identities = Identities::default();
        identities.insert(VmId(1), identity("a", false));
        identities.insert(VmId(2), identity("a", true));
        assert!(!identities.has_other_with("a", VmId(1)));
        assert!(identities.has_other_with("a", VmId(2)));
        identities.remove(VmId(2));
        assert!(identities.has_other_with("a", VmId(3)));
        identities.insert(VmId(1), identity("b", false));
        assert!(!identities.has_other_with("a", VmId(3)));
        assert!(identities.has_other_with("b", VmId(3)));
    }
}
