//! What changed in one VM.

use std::collections::{BTreeMap, BTreeSet};

use super::{differing, pairing::Pair};
use crate::message::{
    Aimed, Finding, Map, Slot, Vcpu, Vm, Word,
    diff::{
        AimedDiff, ApicvDiff, Change, FindingChange, FindingDiff, MapDiff, MapsDiff, PhysicalDiff, Presence,
        SlotDiff, VcpuDiff, VmDiff,
    },
    meaning,
};

impl Pair<'_> {
    /// What changed; `None` where nothing did. A VM that came or went has all it has for a change.
    pub(super) fn compare(&self) -> Option<VmDiff> {
        let Self {
            before,
            after,
            matched_by,
        } = *self;
        let diff = VmDiff {
            change: Presence::of(before, after),
            matched_by,
            before: before.map(|vm| vm.vm.clone()),
            after: after.map(|vm| vm.vm.clone()),
            confidence: changed(before, after, |vm| vm.confidence.clone()),
            vcpus: vcpus(list(before, |vm| &vm.vcpus), list(after, |vm| &vm.vcpus)),
            map: maps(before, after),
            apicv: apicv(
                list(before, |vm| &vm.apicv.inhibits),
                list(after, |vm| &vm.apicv.inhibits),
            ),
            aimed: aimed(list(before, |vm| &vm.aimed), list(after, |vm| &vm.aimed)),
            findings: findings(list(before, |vm| &vm.findings), list(after, |vm| &vm.findings)),
        };
        let same = diff.change == Presence::Changed
            && diff.before == diff.after
            && diff.confidence.is_none()
            && diff.vcpus.is_empty()
            && diff.map == MapsDiff::default()
            && diff.apicv == ApicvDiff::default()
            && diff.aimed == AimedDiff::default()
            && diff.findings.is_empty();
        (!same).then_some(diff)
    }
}

fn list<T>(vm: Option<&Vm>, of: impl Fn(&Vm) -> &Vec<T>) -> &[T] {
    vm.map_or(&[], |vm| of(vm).as_slice())
}

/// The two values of a VM that is there on both sides, where they differ.
fn changed<T: PartialEq>(
    before: Option<&Vm>,
    after: Option<&Vm>,
    of: impl Fn(&Vm) -> T,
) -> Option<Change<T>> {
    let change = Change {
        before: of(before?),
        after: of(after?),
    };
    (change.before != change.after).then_some(change)
}

/// Members of both sides by their key, in its order.
fn by_key<'a, T, K: Ord>(
    before: &'a [T],
    after: &'a [T],
    key: impl Fn(&T) -> K,
) -> BTreeMap<K, (Option<&'a T>, Option<&'a T>)> {
    let mut all: BTreeMap<K, (Option<&T>, Option<&T>)> = BTreeMap::new();
    for one in before {
        all.entry(key(one)).or_default().0.get_or_insert(one);
    }
    for one in after {
        all.entry(key(one)).or_default().1.get_or_insert(one);
    }
    all
}

fn vcpus(before: &[Vcpu], after: &[Vcpu]) -> Vec<VcpuDiff> {
    by_key(before, after, |vcpu| vcpu.vcpu_id)
        .into_iter()
        .filter(|(_, (before, after))| before != after)
        .map(|(vcpu_id, (before, after))| VcpuDiff {
            vcpu_id,
            change: Presence::of(before, after),
            differs: before.zip(after).map(registers).unwrap_or_default(),
            before: before.cloned(),
            after: after.cloned(),
            claims: Change {
                before: claims(before),
                after: claims(after),
            },
        })
        .collect()
}

fn registers((before, after): (&Vcpu, &Vcpu)) -> Vec<&'static str> {
    differing(&[
        ("apic_id", before.apic_id == after.apic_id),
        ("mode", before.mode == after.mode),
        ("hw_enabled", before.hw_enabled == after.hw_enabled),
        ("sw_enabled", before.sw_enabled == after.sw_enabled),
        ("ldr", before.ldr == after.ldr),
        ("dfr", before.dfr == after.dfr),
        ("svr", before.svr == after.svr),
        ("apic_base", before.apic_base == after.apic_base),
    ])
}

fn claims(vcpu: Option<&Vcpu>) -> Vec<Slot> {
    let claims = vcpu.and_then(|vcpu| meaning::lapic(vcpu).claims());
    let slots = claims.into_iter().flat_map(|named| named.iter());
    slots
        .map(|slot| Slot {
            cluster: slot.cluster,
            bit: slot.bit,
        })
        .collect()
}

fn maps(before: Option<&Vm>, after: Option<&Vm>) -> MapsDiff {
    let one = |of: fn(&Vm) -> &Option<Map>| {
        map(
            before.and_then(|vm| of(vm).as_ref()),
            after.and_then(|vm| of(vm).as_ref()),
        )
    };
    MapsDiff {
        published: one(|vm| &vm.map.published),
        rebuilt: one(|vm| &vm.map.rebuilt),
        agrees: changed(before, after, |vm| vm.map.agrees),
    }
}

fn map(before: Option<&Map>, after: Option<&Map>) -> Option<MapDiff> {
    if before == after {
        return None;
    }
    let mode = |map: Option<&Map>| -> Option<Word> { map.map(|map| map.mode.clone()) };
    let slots = |map: Option<&Map>| -> BTreeMap<(u8, u8), u32> {
        let entries = map.into_iter().flat_map(|map| &map.slots);
        entries
            .map(|entry| ((entry.slot.cluster, entry.slot.bit), entry.vcpu_id))
            .collect()
    };
    let physical = |map: Option<&Map>| -> BTreeMap<u32, u32> {
        let entries = map.into_iter().flat_map(|map| &map.physical);
        entries.map(|entry| (entry.apic_id, entry.vcpu_id)).collect()
    };
    Some(MapDiff {
        mode: Change {
            before: mode(before),
            after: mode(after),
        },
        slots: owners(&slots(before), &slots(after))
            .map(|((cluster, bit), before, after)| SlotDiff {
                slot: Slot { cluster, bit },
                before,
                after,
            })
            .collect(),
        physical: owners(&physical(before), &physical(after))
            .map(|(apic_id, before, after)| PhysicalDiff {
                apic_id,
                before,
                after,
            })
            .collect(),
    })
}

/// The places whose owner is not the same, ascending.
fn owners<K: Ord + Copy>(
    before: &BTreeMap<K, u32>,
    after: &BTreeMap<K, u32>,
) -> impl Iterator<Item = (K, Option<u32>, Option<u32>)> {
    let places: BTreeSet<K> = before.keys().chain(after.keys()).copied().collect();
    places
        .into_iter()
        .map(|place| (place, before.get(&place).copied(), after.get(&place).copied()))
        .filter(|(_, before, after)| before != after)
}

fn apicv(before: &[String], after: &[String]) -> ApicvDiff {
    let only = |these: &[String], those: &[String]| -> Vec<String> {
        these.iter().filter(|one| !those.contains(one)).cloned().collect()
    };
    ApicvDiff {
        set: only(after, before),
        cleared: only(before, after),
    }
}

fn aimed(before: &[Aimed], after: &[Aimed]) -> AimedDiff {
    let keys = |all: &[Aimed]| -> BTreeSet<(Word, u32, u32, u8)> { all.iter().map(aim_key).collect() };
    let only = |these: &[Aimed], those: &[Aimed]| -> Vec<Aimed> {
        let those = keys(those);
        let news = these.iter().filter(|aim| !those.contains(&aim_key(aim)));
        news.cloned().collect()
    };
    AimedDiff {
        came: only(after, before),
        went: only(before, after),
    }
}

fn aim_key(aim: &Aimed) -> (Word, u32, u32, u8) {
    (aim.source.clone(), aim.index, aim.dest, aim.vector)
}

/// Findings are the same by their rule, collisions by their slot as well. Their ids are not asked: they change with
/// the process of a VM that has no UUID.
fn findings(before: &[Finding], after: &[Finding]) -> Vec<FindingDiff> {
    let key = |finding: &Finding| {
        let is_by_slot = finding.rule == "ldr-collision";
        let slot = finding.slots.first().filter(|_| is_by_slot);
        (finding.rule.clone(), slot.map(|slot| (slot.cluster, slot.bit)))
    };
    by_key(before, after, key)
        .into_values()
        .filter_map(|(before, after)| {
            let (change, differs) = match (before, after) {
                (Some(before), Some(after)) => (FindingChange::Changed, members(before, after)),
                (None, _) => (FindingChange::Raised, Vec::new()),
                (_, None) => (FindingChange::Cleared, Vec::new()),
            };
            let same = change == FindingChange::Changed && differs.is_empty();
            (!same).then(|| FindingDiff {
                change,
                differs,
                before: before.cloned(),
                after: after.cloned(),
            })
        })
        .collect()
}

/// What counts as a change of a finding: not since when it is known, nor by whose write, which depend on who looked; nor its
/// evidence, which is the registers of above.
fn members(before: &Finding, after: &Finding) -> Vec<&'static str> {
    differing(&[
        ("severity", before.severity == after.severity),
        ("vcpus", before.vcpus == after.vcpus),
        ("slots", before.slots == after.slots),
        ("summary", before.summary == after.summary),
        ("confidence", before.confidence == after.confidence),
        ("suspected", before.suspected == after.suspected),
        ("effect", before.effect == after.effect),
    ])
}
