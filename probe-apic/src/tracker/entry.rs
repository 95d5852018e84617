//! One finding over time: what is, what was told, and when the difference between the two is to be told.
//!
//! A small state machine without a clock: [`super::Tracker`] tells it what it sees and when something is due.

use super::{
    ChangeKind,
    flapping::{Flapping, is_same_condition},
};
use crate::{
    finding::{Effect, Finding, Severity},
    id::{BootTime, Slot, VcpuId},
};

#[derive(Debug)]
pub(super) struct Entry {
    /// The finding as it stands, or stood when its condition was last met.
    latest: Finding,
    present: bool,
    /// What was told of it, while it is raised.
    told: Option<Told>,
    /// What is to be told next, and since when that has been so.
    pending: Option<(ChangeKind, BootTime)>,
    flapping: Flapping,
    due: Option<BootTime>,
}

/// The part of a finding whose change is worth telling. A summary that alone reads differently is not.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    vcpus: Vec<VcpuId>,
    slots: Vec<Slot>,
    severity: Severity,
    suspected: bool,
    effect: Effect,
}

impl Told {
    fn of(finding: &Finding) -> Self {
        let Finding {
            vcpus,
            slots,
            severity,
            suspected,
            effect,
            ..
        } = finding;
        Self {
            vcpus: vcpus.clone(),
            slots: slots.clone(),
            severity: *severity,
            suspected: *suspected,
            effect: *effect,
        }
    }

    fn covers(&self, finding: &Finding) -> bool {
        self.vcpus == finding.vcpus
            && self.slots == finding.slots
            && self.severity == finding.severity
            && self.suspected == finding.suspected
            && self.effect == finding.effect
    }
}

impl Entry {
    /// An entry about which nothing is known but what its finding looks like.
    pub(super) fn new(latest: Finding) -> Self {
        Self {
            latest,
            present: false,
            told: None,
            pending: None,
            flapping: Flapping::default(),
            due: None,
        }
    }

    /// The condition is met, since `trigger` at the latest.
    pub(super) fn present(&mut self, finding: Finding, trigger: BootTime, settle_nanos: u64) {
        let same = is_same_condition(&self.latest.vcpus, &finding.vcpus);
        if self.told.is_none() && self.present && !same {
            // It passed from one vCPU to the next without holding for any.
            self.absent(trigger, settle_nanos);
        }
        // A raised finding, and one that was there before, began when it began.
        let since = if self.present || self.told.is_some() {
            self.latest.since
        } else {
            finding.since
        };
        self.latest = Finding { since, ..finding };
        self.present = true;
        self.expect(trigger, settle_nanos);
    }

    /// The condition is not met, since `trigger` at the latest.
    pub(super) fn absent(&mut self, trigger: BootTime, settle_nanos: u64) {
        if std::mem::replace(&mut self.present, false) {
            self.flapping.went(trigger, &self.latest.vcpus);
        }
        self.expect(trigger, settle_nanos);
    }

    /// Works out what is to be told next, given what is and what was told.
    fn expect(&mut self, trigger: BootTime, settle_nanos: u64) {
        let kind = match &self.told {
            None if self.present || self.flapping.is_held() => Some(ChangeKind::Raised),
            None => None,
            Some(_) if !self.present => Some(ChangeKind::Cleared),
            Some(told) if !told.covers(&self.latest) => Some(ChangeKind::Changed),
            Some(_) => None,
        };
        self.pending = kind.map(|kind| match self.pending {
            Some((pending, since)) if pending == kind => (kind, since),
            _ => (kind, trigger),
        });
        self.due = self.pending.map(|(kind, since)| match kind {
            ChangeKind::Raised if self.flapping.is_held() => since,
            ChangeKind::Cleared if self.flapping.is_held() => {
                self.flapping.quiet_at().max(since.plus(settle_nanos))
            }
            _ => since.plus(settle_nanos),
        });
        if self.due.is_none() && !self.present && self.told.is_none() {
            // Kept only for its count of comings and goings.
            self.due = Some(self.flapping.quiet_at());
        }
    }

    /// When it has to be looked at again.
    pub(super) const fn due(&self) -> Option<BootTime> {
        self.due
    }

    /// `due` has come: what there is to tell.
    pub(super) fn fall_due(&mut self, due: BootTime, settle_nanos: u64) -> Option<(ChangeKind, Finding)> {
        self.due = None;
        let (kind, _) = self.pending.take()?;
        let finding = self.annotated();
        match kind {
            ChangeKind::Raised | ChangeKind::Changed => {
                self.told = Some(Told::of(&self.latest));
                // One that flaps may be raised while its condition is not met.
                self.expect(due, settle_nanos);
            }
            ChangeKind::Cleared => {
                self.told = None;
                self.flapping.calm();
                self.due = Some(self.flapping.quiet_at()).filter(|&quiet_at| quiet_at > due);
            }
        }
        Some((kind, finding))
    }

    /// Whether nothing about it is worth keeping.
    pub(super) const fn is_spent(&self) -> bool {
        !self.present && self.told.is_none() && self.due.is_none()
    }

    /// The finding, while it is raised.
    pub(super) fn raised(&self) -> Option<&Finding> {
        self.told.as_ref().map(|_| &self.latest)
    }

    /// The finding as it was last, if it was raised.
    pub(super) fn into_raised(self) -> Option<Finding> {
        let finding = self.annotated();
        self.told.map(|_| finding)
    }

    fn annotated(&self) -> Finding {
        let mut finding = self.latest.clone();
        if let Some(times) = self.flapping.held_for() {
            finding.summary = format!(
                "{} (came and went {times} times in quick succession)",
                finding.summary
            );
        }
        finding
    }
}
