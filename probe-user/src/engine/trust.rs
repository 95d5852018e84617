//! Tells when a VM's state stops and starts being trustworthy: on average at most one line a second for each VM.

use std::collections::BTreeMap;

use probe_apic::{
    finding::Confidence,
    id::{BootTime, VmId},
};

use super::{agenda::Agenda, output::StatusKind};

/// The least time from a line that a VM is uncertain to the next such line, in nanoseconds: a guest that tears every read
/// must not flood the output. That it is certain again is said at once, for that is what people wait for.
const QUIET: u64 = 2_000_000_000;

/// What was said about the VMs, and what is still to be said.
#[derive(Debug, Default)]
pub(super) struct Trust {
    vms: BTreeMap<VmId, Said>,
    /// VMs about which something else is true than what was said, by the moment at which that may be said.
    pending: Agenda,
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
        match (said.uncertain, said.is_uncertain) {
            (false, true) => self.pending.put(vm, said.not_before),
            (true, false) => self.pending.put(vm, BootTime(0)),
            _ => self.pending.strike(vm),
        }
    }

    pub(super) fn forget(&mut self, vm: VmId) {
        self.vms.remove(&vm);
        self.pending.strike(vm);
    }

    /// What is to be said now, by VM.
    pub(super) fn poll(&mut self, now: BootTime) -> Vec<(VmId, StatusKind)> {
        let mut lines = Vec::new();
        while let Some(vm) = self.pending.take_due(now) {
            let Some(said) = self.vms.get_mut(&vm) else {
                continue;
            };
            said.uncertain = said.is_uncertain;
            let kind = if said.uncertain {
                said.not_before = now.plus(QUIET);
                StatusKind::Uncertain
            } else {
                StatusKind::Certain
            };
            lines.push((vm, kind));
        }
        lines.sort_unstable_by_key(|&(vm, _)| vm);
        lines
    }

    pub(super) fn next_due(&self) -> Option<BootTime> {
        self.pending.first()
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
        for step in 0..1000_u64 {
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
        assert_eq!(lines.len(), 10, "{lines:?}");
        let told_in_turn = lines
            .chunks(2)
            .all(|pair| pair == [(VM, StatusKind::Uncertain), (VM, StatusKind::Certain)]);
        assert!(told_in_turn, "{lines:?}");
    }

    #[test]
    fn a_vm_that_healed_is_said_to_be_certain_at_once() {
        let mut trust = Trust::default();
        trust.note(VM, Confidence::Uncertain);
        assert_eq!(trust.poll(BootTime(5)), [(VM, StatusKind::Uncertain)]);
        trust.note(VM, Confidence::Certain);
        assert!(trust.next_due() <= Some(BootTime(6)));
        assert_eq!(trust.poll(BootTime(6)), [(VM, StatusKind::Certain)]);
        trust.note(VM, Confidence::Uncertain);
        assert!(trust.poll(BootTime(7)).is_empty());
        assert_eq!(trust.next_due(), Some(BootTime(5 + QUIET)));
        assert_eq!(trust.poll(BootTime(5 + QUIET)), [(VM, StatusKind::Uncertain)]);
    }
}
