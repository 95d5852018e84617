//! Which VMs are to be read again unasked, and when.
//!
//! An ICR or a route that begins to aim at a broken slot makes no recalculation, so a VM with such a slot is
//! read each second. A VM whose last read was torn is read sooner, until a read succeeds. A change of an APIC base is
//! seen before KVM makes it, and need not end in a recalculation either, so its VM is read once more.

use std::collections::BTreeMap;

use probe_apic::{
    finding::{Confidence, Finding, Severity},
    id::{BootTime, VmId},
};

/// Between two reads of a VM with broken or slow destinations, in nanoseconds.
const WATCHFUL: u64 = 1_000_000_000;

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
    due: BTreeMap<VmId, Appointment>,
    /// VMs whose last read has to be confirmed by another one soon.
    rechecks: BTreeMap<VmId, BootTime>,
    /// VMs of which a change was seen before it was made.
    announced: BTreeMap<VmId, BootTime>,
}

#[derive(Clone, Copy, Debug)]
struct Appointment {
    every: u64,
    next: BootTime,
}

impl Pace {
    /// Takes note of a VM's judgement. Being judged more often does not put the next read off.
    pub(super) fn judged(&mut self, vm: VmId, now: BootTime, confidence: Confidence, findings: &[Finding]) {
        let every = match confidence {
            Confidence::Uncertain => HEALING,
            Confidence::Certain if findings.iter().any(is_worth_watching) => WATCHFUL,
            Confidence::Certain | Confidence::Unobservable => return self.forget(vm),
        };
        let fresh = Appointment {
            every,
            next: now.plus(every),
        };
        let appointment = self.due.entry(vm).or_insert(fresh);
        if appointment.every != every {
            *appointment = fresh;
        }
    }

    /// Has a VM read again soon, or no longer.
    pub(super) fn recheck(&mut self, vm: VmId, wanted: bool, now: BootTime) {
        if wanted {
            self.rechecks.insert(vm, now.plus(RECHECK));
        } else {
            self.rechecks.remove(&vm);
        }
    }

    /// Has a VM read once a change that was announced must have been made.
    pub(super) fn announced(&mut self, vm: VmId, now: BootTime) {
        self.announced.insert(vm, now.plus(CARRIED_OUT));
    }

    pub(super) fn forget(&mut self, vm: VmId) {
        self.due.remove(&vm);
    }

    /// The VMs to read now; each gets its next appointment.
    pub(super) fn take_due(&mut self, now: BootTime) -> Vec<VmId> {
        let mut due = Vec::new();
        for once in [&mut self.rechecks, &mut self.announced] {
            once.retain(|vm, at| {
                let later = *at > now;
                if !later {
                    due.push(*vm);
                }
                later
            });
        }
        for (vm, appointment) in self
            .due
            .iter_mut()
            .filter(|(_, appointment)| appointment.next <= now)
        {
            appointment.next = now.plus(appointment.every);
            due.push(*vm);
        }
        due
    }

    pub(super) fn next_due(&self) -> Option<BootTime> {
        let appointments = self.due.values().map(|appointment| appointment.next);
        let once = self.rechecks.values().chain(self.announced.values());
        appointments.chain(once.copied()).min()
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
