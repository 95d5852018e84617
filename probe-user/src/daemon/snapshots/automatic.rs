//! When a snapshot is written unasked: as a finding turns critical, and not too often.

use std::collections::BTreeSet;

use probe_apic::{
    finding::{FindingKey, Severity},
    id::{BootTime, VmId},
    tracker::ChangeKind,
};

use crate::engine::output::Output;

/// The least time between two, in nanoseconds: what turns critical meanwhile shares one.
const APART: u64 = 10_000_000_000;

/// Watches for findings that turn critical. It must hear all that the engine says, not what a limit left of it.
#[derive(Debug, Default)]
pub struct Automatic {
    critical: BTreeSet<(VmId, FindingKey)>,
    wanted: bool,
    not_before: BootTime,
}

impl Automatic {
    /// Takes note of what the engine said.
    pub fn note(&mut self, output: &Output) {
        let Output::Event(event) = output else { return };
        let change = &event.change;
        let key = (change.vm, change.finding.key);
        if change.kind != ChangeKind::Cleared && change.finding.severity == Severity::Critical {
            // One that goes on being critical is in a snapshot already.
            self.wanted |= self.critical.insert(key);
        } else {
            self.critical.remove(&key);
        }
    }

    /// Whether to write one now.
    pub fn take_due(&mut self, now: BootTime) -> bool {
        let due = self.wanted && self.not_before <= now;
        if due {
            self.wanted = false;
            self.not_before = now.plus(APART);
        }
        due
    }

    /// When to call [`Self::take_due`] next.
    #[must_use]
    pub fn next_due(&self) -> Option<BootTime> {
        self.wanted.then_some(self.not_before)
    }
}
