//! Tells when a VM's state stops and starts being trustworthy, at most one line a second for each VM.

use std::collections::{BTreeMap, BTreeSet};

use probe_apic::{
    finding::Confidence,
    id::{BootTime, VmId},
};

use super::output::StatusKind;

/// The least time between two lines about one VM, in nanoseconds: a guest that tears every read must not
/// flood the output.
const QUIET: u64 = 1_000_000_000;

/// What was said about the VMs, and what is still to be said.
#[derive(Debug, Default)]
pub(super) struct Trust {
    vms: BTreeMap<VmId, Said>,
    /// VMs about which something else is true than what was said.
    pending: BTreeSet<VmId>,
}

/// A VM nobody has spoken about is taken for certain.
#[derive(Clone, Copy, Debug, Default)]
struct Said {
    uncertain: bool,
    is_uncertain: bool,
    not_before: BootTime,
}

impl Trust {
    /// Takes note of a VM's confidence.
    pub(super) fn note(&mut self, vm: VmId, confidence: Confidence) {
        let said = self.vms.entry(vm).or_default();
        said.is_uncertain = confidence == Confidence::Uncertain;
        if said.is_uncertain == said.uncertain {
            self.pending.remove(&vm);
        } else {
            self.pending.insert(vm);
        }
    }

    pub(super) fn forget(&mut self, vm: VmId) {
        self.vms.remove(&vm);
        self.pending.remove(&vm);
    }

    /// What is to be said now.
    pub(super) fn poll(&mut self, now: BootTime) -> Vec<(VmId, StatusKind)> {
        let mut lines = Vec::new();
        self.pending.retain(|vm| {
            let Some(said) = self.vms.get_mut(vm) else {
                return false;
            };
            if now < said.not_before {
                return true;
            }
            said.uncertain = said.is_uncertain;
            said.not_before = now.plus(QUIET);
            lines.push((
                *vm,
                if said.uncertain {
                    StatusKind::Uncertain
                } else {
                    StatusKind::Certain
                },
            ));
            false
        });
        lines
    }

    pub(super) fn next_due(&self) -> Option<BootTime> {
        self.pending
            .iter()
            .filter_map(|vm| self.vms.get(vm))
            .map(|said| said.not_before)
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VM: VmId = VmId(1);

    #[test]
    fn a_certain_vm_is_not_worth_a_line() {
        let mut trust = Trust::default();
        trust.note(VM, Confidence::Certain);
        trust.note(VM, Confidence::Unobservable);
        assert!(trust.poll(BootTime(0)).is_empty());
        assert_eq!(trust.next_due(), None);
    }

    #[test]
    fn a_vm_that_wavers_gets_one_line_a_second() {
        let mut trust = Trust::default();
        let mut lines = Vec::new();
        for step in 0..100_u64 {
            trust.note(
                VM,
                if step % 2 == 0 {
                    Confidence::Uncertain
                } else {
                    Confidence::Certain
                },
            );
            lines.extend(trust.poll(BootTime(step * 10_000_000)));
        }
        assert_eq!(lines, [(VM, StatusKind::Uncertain)]);
        assert_eq!(trust.next_due(), Some(BootTime(QUIET)));
        assert_eq!(trust.poll(BootTime(QUIET)), [(VM, StatusKind::Certain)]);
    }
}
