//! Which VM of one snapshot is which of the other: by UUID; else by process id, name and VMM; else by name and VMM, where
//! those are nobody else's. VMs of two UUIDs are never the same.

use std::collections::BTreeMap;

use crate::message::{Vm, VmRef, diff::MatchedBy};

/// A VM of either snapshot, or of both.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair<'a> {
    pub(super) before: Option<&'a Vm>,
    pub(super) after: Option<&'a Vm>,
    /// By what they were found to be the same.
    pub(super) matched_by: Option<MatchedBy>,
}

/// All VMs, in the order of the second snapshot, then those that are not in it.
pub(super) fn pairs<'a>(before: &'a [Vm], after: &'a [Vm]) -> Vec<Pair<'a>> {
    let mut partners: Vec<Option<(usize, MatchedBy)>> = vec![None; after.len()];
    let mut taken = vec![false; before.len()];
    for pass in PASSES {
        let mut left: BTreeMap<Key<'_>, (Vec<usize>, Vec<usize>)> = BTreeMap::new();
        for (index, vm) in before.iter().enumerate().filter(|(index, _)| !taken[*index]) {
            if let Some(key) = (pass.key)(&vm.vm) {
                left.entry(key).or_default().0.push(index);
            }
        }
        for (index, vm) in after
            .iter()
            .enumerate()
            .filter(|(index, _)| partners[*index].is_none())
        {
            if let Some(key) = (pass.key)(&vm.vm) {
                left.entry(key).or_default().1.push(index);
            }
        }
        for (old, new) in left.into_values() {
            if pass.alone && (old.len(), new.len()) != (1, 1) {
                continue;
            }
            for (old, new) in old.into_iter().zip(new) {
                if may_be_the_same(&before[old].vm, &after[new].vm) {
                    taken[old] = true;
                    partners[new] = Some((old, pass.matched_by));
                }
            }
        }
    }
    let present = after.iter().zip(partners).map(|(vm, partner)| Pair {
        before: partner.map(|(old, _)| &before[old]),
        after: Some(vm),
        matched_by: partner.map(|(_, by)| by),
    });
    let gone = before.iter().zip(taken).filter(|(_, taken)| !taken);
    let gone = gone.map(|(vm, _)| Pair {
        before: Some(vm),
        after: None,
        matched_by: None,
    });
    present.chain(gone).collect()
}

type Key<'a> = (Option<&'a str>, Option<u32>, Option<(&'a str, &'a str)>);

/// One way to find a VM again, the surest first. Several with the same key are taken in their order, unless the key has to
/// be one VM's `alone`.
struct Pass {
    matched_by: MatchedBy,
    key: for<'a> fn(&'a VmRef) -> Option<Key<'a>>,
    alone: bool,
}

/// A VM that moves within its host is there twice under one UUID for a while: the process then tells them apart.
const PASSES: [Pass; 4] = [
    Pass {
        matched_by: MatchedBy::Uuid,
        key: |vm| Some((Some(vm.uuid.as_deref()?), Some(vm.pid?), None)),
        alone: false,
    },
    Pass {
        matched_by: MatchedBy::Uuid,
        key: |vm| Some((Some(vm.uuid.as_deref()?), None, None)),
        alone: false,
    },
    Pass {
        matched_by: MatchedBy::Pid,
        key: |vm| Some((None, Some(vm.pid?), Some((&vm.name, &vm.vmm)))),
        alone: false,
    },
    Pass {
        matched_by: MatchedBy::Name,
        key: |vm| Some((None, None, Some((&vm.name, &vm.vmm)))),
        alone: true,
    },
];

fn may_be_the_same(before: &VmRef, after: &VmRef) -> bool {
    before.uuid.is_none() || after.uuid.is_none() || before.uuid == after.uuid
}
