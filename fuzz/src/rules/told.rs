//! What was told of each finding: raised before it changes, cleared only while it is raised, and never twice.

use std::collections::BTreeMap;

use probe_apic::{
    finding::{Finding, FindingKey},
    id::{BootTime, VmId},
    tracker::{Change, ChangeKind},
};

#[derive(Debug, Default)]
pub(super) struct Told {
    raised: BTreeMap<VmId, BTreeMap<FindingKey, Finding>>,
}

impl Told {
    pub(super) fn hear(&mut self, change: &Change, now: BootTime) {
        let Change {
            vm,
            kind,
            finding,
            at,
            latency_nanos,
        } = change;
        assert_eq!(*at, now);
        assert!(*latency_nanos <= now.0);
        assert!(
            finding.since.is_none_or(|since| since <= now),
            "it began before it was told: {change:?}"
        );
        let raised = self.raised.entry(*vm).or_default();
        let before = raised.remove(&finding.key);
        assert_eq!(before.is_some(), *kind != ChangeKind::Raised, "{change:?}");
        if *kind != ChangeKind::Cleared {
            raised.insert(finding.key, finding.clone());
        }
    }

    pub(super) fn vms(&self) -> Vec<VmId> {
        self.raised.keys().copied().collect()
    }

    /// What the tracker holds of a VM is what was told of it.
    pub(super) fn compare<'a>(&self, vm: VmId, held: impl Iterator<Item = &'a Finding>) {
        let held: Vec<FindingKey> = held.map(|finding| finding.key).collect();
        let raised: Vec<FindingKey> = self
            .raised
            .get(&vm)
            .into_iter()
            .flat_map(BTreeMap::keys)
            .copied()
            .collect();
        assert_eq!(held, raised, "what is held of {vm:?}, and what was told");
    }

    pub(super) fn assert_all_cleared(&self) {
        let left: Vec<_> = self
            .raised
            .iter()
            .filter(|(_, raised)| !raised.is_empty())
            .collect();
        assert!(left.is_empty(), "never cleared: {left:?}");
    }
}
