//! Findings over time: raised once they have held, changed, cleared, and never told twice.
//!
//! A condition has to hold for the settle time before anything is said about it, and to be gone for as long
//! before it is cleared, so that a VMM that restores vCPU by vCPU raises nothing. One that keeps coming and
//! going is raised and held. What the findings are is left to [`crate::rules`], who hears of them to the sinks.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crate::{
    finding::{Finding, FindingKey},
    id::{BootTime, VmId},
};

mod entry;
mod flapping;
#[cfg(test)]
mod tests;

use entry::Entry;

/// What happened to a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeKind {
    /// It is new.
    Raised,
    /// Its members, severity or effect are not what they were.
    Changed,
    /// Its condition is gone, or its VM is.
    Cleared,
}

impl ChangeKind {
    /// The word of the JSON contract.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Changed => "changed",
            Self::Cleared => "cleared",
        }
    }
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Something to tell about a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The VM it belongs to.
    pub vm: VmId,
    /// What happened to it.
    pub kind: ChangeKind,
    /// The finding as it stands; of a cleared one, as it stood last.
    pub finding: Finding,
    /// When this was told.
    pub at: BootTime,
    /// Nanoseconds from the kernel event that brought it about until it was told, the settle time left out.
    pub latency_nanos: u64,
}

/// The findings of all VMs, and what of them was told.
#[derive(Debug)]
pub struct Tracker {
    settle_nanos: u64,
    vms: BTreeMap<VmId, BTreeMap<FindingKey, Entry>>,
    /// When something about an entry is due, so that a poll costs nothing for all the others.
    due: BTreeSet<(BootTime, VmId, FindingKey)>,
    /// Findings of VMs that are gone, to be told at the next poll.
    orphaned: Vec<(BootTime, VmId, Finding)>,
}

impl Tracker {
    /// A tracker without findings, and the time in nanoseconds for which a condition has to hold (or to be
    /// gone) before it is told; 0 for at once.
    #[must_use]
    pub const fn new(settle_nanos: u64) -> Self {
        Self {
            settle_nanos,
            vms: BTreeMap::new(),
            due: BTreeSet::new(),
            orphaned: Vec::new(),
        }
    }

    /// Takes in all findings of `vm` as they stand at `now`, brought about by an event at `trigger`.
    ///
    /// Conditions count as held from `trigger` on. Findings that are not among `findings` are gone.
    pub fn update(&mut self, vm: VmId, now: BootTime, trigger: BootTime, findings: Vec<Finding>) {
        // An event cannot be younger than its observation, whatever a damaged record says.
        let trigger = trigger.min(now);
        if findings.is_empty() && !self.vms.contains_key(&vm) {
            return;
        }
        let entries = self.vms.entry(vm).or_default();
        let mut gone: BTreeSet<FindingKey> = entries.keys().copied().collect();
        for finding in findings {
            let key = finding.key;
            gone.remove(&key);
            let entry = entries.entry(key).or_insert_with(|| Entry::new(finding.clone()));
            reschedule(&mut self.due, vm, key, entry, |entry| {
                entry.present(finding, trigger, self.settle_nanos)
            });
        }
        for key in gone {
            if let Some(entry) = entries.get_mut(&key) {
                reschedule(&mut self.due, vm, key, entry, |entry| {
                    entry.absent(trigger, self.settle_nanos)
                });
            }
        }
    }

    /// Forgets a VM; its raised findings are cleared at the next poll.
    pub fn vm_gone(&mut self, vm: VmId, at: BootTime) {
        for (key, entry) in self.vms.remove(&vm).unwrap_or_default() {
            if let Some(due) = entry.due() {
                self.due.remove(&(due, vm, key));
            }
            self.orphaned
                .extend(entry.into_raised().map(|finding| (at, vm, finding)));
        }
    }

    /// What there is to tell at `now`, in the order in which it fell due.
    #[must_use]
    pub fn poll(&mut self, now: BootTime) -> Vec<Change> {
        let orphaned = std::mem::take(&mut self.orphaned);
        let mut changes: Vec<Change> = orphaned
            .into_iter()
            .map(|(at, vm, finding)| Change {
                vm,
                kind: ChangeKind::Cleared,
                finding,
                at: now,
                latency_nanos: now.since(at),
            })
            .collect();
        while let Some(&(due, vm, key)) = self.due.first().filter(|&&(due, ..)| due <= now) {
            self.due.remove(&(due, vm, key));
            let Some(entries) = self.vms.get_mut(&vm) else {
                continue;
            };
            let Some(entry) = entries.get_mut(&key) else {
                continue;
            };
            let told = entry.fall_due(due, self.settle_nanos);
            if let Some(due) = entry.due() {
                self.due.insert((due, vm, key));
            } else if entry.is_spent() {
                entries.remove(&key);
            }
            changes.extend(told.map(|(kind, finding)| Change {
                vm,
                kind,
                finding,
                at: now,
                latency_nanos: now.since(due),
            }));
        }
        changes
    }

    /// When there will be something to tell, as things stand.
    #[must_use]
    pub fn next_due(&self) -> Option<BootTime> {
        let orphaned = self.orphaned.iter().map(|&(at, ..)| at).min();
        orphaned
            .into_iter()
            .chain(self.due.first().map(|&(due, ..)| due))
            .min()
    }

    /// The findings of `vm` that are raised now, as they stand.
    pub fn held(&self, vm: VmId) -> impl Iterator<Item = &Finding> {
        self.vms
            .get(&vm)
            .into_iter()
            .flat_map(BTreeMap::values)
            .filter_map(Entry::raised)
    }
}

/// Lets `step` move an entry, and its place in `due` with it.
fn reschedule(
    due: &mut BTreeSet<(BootTime, VmId, FindingKey)>,
    vm: VmId,
    key: FindingKey,
    entry: &mut Entry,
    step: impl FnOnce(&mut Entry),
) {
    let before = entry.due();
    step(entry);
    let after = entry.due();
    if before == after {
        return;
    }
    if let Some(before) = before {
        due.remove(&(before, vm, key));
    }
    if let Some(after) = after {
        due.insert((after, vm, key));
    }
}
