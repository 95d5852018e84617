//! VMs and the moment for which each is down: the earliest is found without a look at the others.

use std::collections::{BTreeMap, BTreeSet};

use probe_apic::id::{BootTime, VmId};

/// At most one moment for each VM.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    by_vm: BTreeMap<VmId, BootTime>,
    by_time: BTreeSet<(BootTime, VmId)>,
}

impl Agenda {
    /// Puts a VM down for `at`, and for no other moment.
    pub(super) fn put(&mut self, vm: VmId, at: BootTime) {
        match self.by_vm.insert(vm, at) {
            Some(before) if before == at => return,
            Some(before) => {
                self.by_time.remove(&(before, vm));
            }
            None => {}
        }
        self.by_time.insert((at, vm));
    }

    /// Strikes a VM off.
    pub(super) fn strike(&mut self, vm: VmId) {
        if let Some(at) = self.by_vm.remove(&vm) {
            self.by_time.remove(&(at, vm));
        }
    }

    /// The earliest moment.
    pub(super) fn first(&self) -> Option<BootTime> {
        self.by_time.first().map(|&(at, _)| at)
    }

    /// The VMs that are down for `until` or before, the earliest first.
    pub(super) fn until(&self, until: BootTime) -> impl Iterator<Item = VmId> {
        let due = self.by_time.iter().take_while(move |&&(at, _)| at <= until);
        due.map(|&(_, vm)| vm)
    }

    /// Strikes off the VM that has been down for the longest, if its moment has come.
    pub(super) fn take_due(&mut self, now: BootTime) -> Option<VmId> {
        let &(at, vm) = self.by_time.first().filter(|&&(at, _)| at <= now)?;
        self.by_time.remove(&(at, vm));
        self.by_vm.remove(&vm);
        Some(vm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vm_is_down_for_its_last_moment_alone() {
        let mut agenda = Agenda::default();
        agenda.put(VmId(1), BootTime(5));
        agenda.put(VmId(2), BootTime(7));
        agenda.put(VmId(1), BootTime(9));
        assert_eq!(agenda.first(), Some(BootTime(7)));
        assert_eq!(agenda.until(BootTime(9)).collect::<Vec<_>>(), [VmId(2), VmId(1)]);
        assert_eq!(agenda.take_due(BootTime(6)), None);
        assert_eq!(agenda.take_due(BootTime(7)), Some(VmId(2)));
        assert_eq!(agenda.take_due(BootTime(8)), None);
        agenda.strike(VmId(1));
        assert_eq!(agenda.first(), None);
    }
}
