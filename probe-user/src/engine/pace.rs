//! Which VMs are to be read again unasked, and when.
//!
//! An ICR or a route that begins to aim at a broken slot makes no recalculation, so a VM with such a slot is
//! read each second. A VM whose last read was torn is read sooner, until a read succeeds. A change of an APIC base is
//! seen before KVM makes it, and need not end in a recalculation either, so its VM is read once more.

use std::collections::{BTreeMap, BTreeSet};

use probe_apic::{
    finding::{Confidence, Finding, Severity},
    id::{BootTime, VmId},
};

use super::agenda::Agenda;

/// Between two reads of a VM with broken or slow destinations, in nanoseconds: the most that it takes.
const WATCHFUL: u64 = 1_000_000_000;

/// By how much such a read may come early for company's sake, in nanoseconds: VMs that need one each second then need few
/// awakenings together, however many they are.
const COMPANY: u64 = 100_000_000;

/// Between two reads of a VM whose state is uncertain, in nanoseconds.
const HEALING: u64 = 100_000_000;

/// Before a read that confirms the last one, in nanoseconds.
const RECHECK: u64 = 10_000_000;

/// Until KVM has carried out a change of an APIC base and all that follows from it, in nanoseconds: on its way it may
/// sleep for milliseconds (`__kvm_apic_set_base` patches static keys, arch/x86/kvm/lapic.c, 5.10 to 7.3).
const CARRIED_OUT: u64 = 50_000_000;

/// The VMs to read again.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// How often the VMs that are read regularly are read, in nanoseconds.
    every: BTreeMap<VmId, u64>,
    /// When each of them is next.
    regular: Agenda,
    /// VMs whose last read has to be confirmed by another one soon.
    rechecks: Agenda,
    /// VMs of which a change was seen before it was made.
    announced: Agenda,
}

impl Pace {
    /// Takes note of a VM's judgement. Being judged more often does not put the next read off.
    pub(super) fn judged(&mut self, vm: VmId, now: BootTime, confidence: Confidence, findings: &[Finding]) {
        let every = match confidence {
            Confidence::Uncertain => HEALING,
            Confidence::Certain if findings.iter().any(is_worth_watching) => WATCHFUL,
            Confidence::Certain | Confidence::Unobservable => return self.forget(vm),
        };
        if self.every.insert(vm, every) != Some(every) {
            self.regular.put(vm, now.plus(every));
        }
    }

    /// Has a VM read again soon, or no longer.
    pub(super) fn recheck(&mut self, vm: VmId, wanted: bool, now: BootTime) {
        if wanted {
            self.rechecks.put(vm, now.plus(RECHECK));
        } else {
            self.rechecks.strike(vm);
        }
    }

    /// Has a VM read once a change that was announced must have been made.
    pub(super) fn announced(&mut self, vm: VmId, now: BootTime) {
        self.announced.put(vm, now.plus(CARRIED_OUT));
    }

    pub(super) fn forget(&mut self, vm: VmId) {
        if self.every.remove(&vm).is_some() {
            self.regular.strike(vm);
        }
    }

    /// The VMs to read now, each once; each that is read regularly gets its next appointment.
    pub(super) fn take_due(&mut self, now: BootTime) -> Vec<VmId> {
        let mut due = BTreeSet::new();
        for once in [&mut self.rechecks, &mut self.announced] {
            due.extend(std::iter::from_fn(|| once.take_due(now)));
        }
        if self.regular.first().is_some_and(|first| first <= now) {
            let is_watched = |vm: &VmId| self.every.get(vm) == Some(&WATCHFUL);
            let in_company = self.regular.until(now.plus(COMPANY)).filter(is_watched);
            let regular: BTreeSet<VmId> = self.regular.until(now).chain(in_company).collect();
            for &vm in &regular {
                let every = self.every.get(&vm).copied().unwrap_or(WATCHFUL);
                self.regular.put(vm, now.plus(every));
            }
            due.extend(regular);
        }
        due.into_iter().collect()
    }

    pub(super) fn next_due(&self) -> Option<BootTime> {
        [&self.regular, &self.rechecks, &self.announced]
            .into_iter()
            .filter_map(Agenda::first)
            .min()
    }
}

const fn is_worth_watching(finding: &Finding) -> bool {
    let effect = &finding.effect;
    matches!(finding.severity, Severity::Warning | Severity::Critical)
        || effect.lost > 0
        || effect.misrouted > 0
        || effect.partial > 0
        || effect.slow
}

#[cfg(test)]
mod tests {
    use probe_apic::{
        finding::{Effect, FindingKey, Rule},
        id::VmId,
    };

    use super::*;

    const MS: u64 = 1_000_000;

    /// A finding with a broken destination.
    fn broken() -> Finding {
        Finding {
            key: FindingKey {
                rule: Rule::LdrMultiBit,
                slot: None,
            },
            severity: Severity::Warning,
            vcpus: Vec::new(),
            slots: Vec::new(),
            since: None,
            summary: String::new(),
            confidence: Confidence::Certain,
            suspected: false,
            effect: Effect {
                lost: 1,
                ..Effect::default()
            },
            evidence: Vec::new(),
            cause: None,
        }
    }

    #[test]
    fn watched_vms_come_to_be_read_together_and_none_later_than_a_second() {
        const VMS: u64 = 100;
        let mut pace = Pace::default();
        let mut read_at = BTreeMap::new();
        for vm in 0..VMS {
            let found = BootTime(vm * 997 * MS / VMS);
            pace.judged(VmId(vm), found, Confidence::Certain, &[broken()]);
            read_at.insert(VmId(vm), found);
        }
        let mut awakenings = Vec::new();
        while let Some(due) = pace.next_due().filter(|&due| due < BootTime(10_000 * MS)) {
            for vm in pace.take_due(due) {
                let before = read_at.insert(vm, due).unwrap();
                assert!(due.since(before) <= WATCHFUL, "{vm:?}");
            }
            awakenings.push(due);
        }
        let in_a_second = awakenings.iter().filter(|at| at.0 >= 9_000 * MS).count();
        assert!(in_a_second <= 10, "{in_a_second} awakenings in the last second");
    }

    #[test]
    fn a_vm_that_is_due_twice_is_read_once() {
        let mut pace = Pace::default();
        pace.judged(VmId(1), BootTime(0), Confidence::Uncertain, &[]);
        pace.announced(VmId(1), BootTime(50 * MS));
        pace.recheck(VmId(1), true, BootTime(90 * MS));
        assert_eq!(pace.take_due(BootTime(100 * MS)), [VmId(1)]);
        assert_eq!(pace.next_due(), Some(BootTime(200 * MS)));
    }
}
