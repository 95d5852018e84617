//! Which VMs are to be read again unasked, and when.
//!
//! An ICR or a route that begins to aim at a broken slot makes no recalculation, so a VM with such a slot is
//! read each second. A VM whose last read was torn is read sooner, until a read succeeds.

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

/// The VMs to read again.
#[derive(Debug, Default)]
pub(super) struct Pace {
    due: BTreeMap<VmId, Appointment>,
    /// VMs whose last read has to be confirmed by another one soon.
    rechecks: BTreeMap<VmId, BootTime>,
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

    pub(super) fn forget(&mut self, vm: VmId) {
        self.due.remove(&vm);
    }

    /// The VMs to read now; each gets its next appointment.
    pub(super) fn take_due(&mut self, now: BootTime) -> Vec<VmId> {
        let mut due = Vec::new();
        self.rechecks.retain(|vm, at| {
            let later = *at > now;
            if !later {
                due.push(*vm);
            }
            later
        });
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
        appointments.chain(self.rechecks.values().copied()).min()
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
