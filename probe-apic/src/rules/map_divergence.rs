//! `map-divergence`: the published and the rebuilt map differ, in the logical or the physical part: a bug of
//! KVM's or ours, or a kernel whose rules are unknown. Told only from a sample whose registers and map belong
//! together.

use super::{Draft, View, wording};
use crate::{
    id::{Slot, VcpuIdx},
    logical_id::Model,
    map::{LogicalAndPhysicalMap, MapMode},
    map_rules::MapRules,
    observation::VcpuSample,
};

pub(super) fn find<'a>(view: &View<'a>) -> Vec<Draft<'a>> {
    if view.vm.agrees() != Some(false) {
        return Vec::new();
    }
    let (published, rebuilt) = (view.vm.published(), view.vm.rebuilt());
    let slots = differing(
        entries(published, |map| &map.slots),
        entries(rebuilt, |map| &map.slots),
    );
    let physical = differing(
        entries(published, |map| &map.physical),
        entries(rebuilt, |map| &map.physical),
    );
    let model = match published.or(rebuilt).map(|map| map.mode) {
        Some(MapMode::Cluster) => Model::Cluster,
        _ => Model::Flat,
    };

    let mut idxs: Vec<VcpuIdx> = slots.iter().flat_map(|differing| differing.vcpus()).collect();
    idxs.extend(physical.iter().flat_map(|differing| differing.vcpus()));
    idxs.sort_unstable();
    idxs.dedup();
    let vcpus: Vec<&VcpuSample> = idxs.into_iter().filter_map(|idx| view.vm.vcpu(idx)).collect();
    let named: Vec<(Model, Slot)> = slots.iter().map(|differing| (model, differing.key)).collect();

    vec![Draft {
        slot: None,
        summary: summary(view, published, rebuilt, &named, physical.len()),
        vcpus,
        slots: named,
        suspected: false,
        registers: &[],
    }]
}

fn summary(
    view: &View<'_>,
    published: Option<&LogicalAndPhysicalMap>,
    rebuilt: Option<&LogicalAndPhysicalMap>,
    slots: &[(Model, Slot)],
    physical: usize,
) -> String {
    let rules = view.vm.rules().map_or("unknown", |rules| rules.name());
    let mode = |map: Option<&LogicalAndPhysicalMap>| map.map_or("none", |map| map.mode.name());
    let mut parts = Vec::new();
    if mode(published) != mode(rebuilt) {
        parts.push(format!("mode {} against {}", mode(published), mode(rebuilt)));
    }
    match slots {
        [] => {}
        [(model, slot)] => parts.push(wording::slot(*model, *slot)),
        [(model, first), ..] => parts.push(format!(
            "{} slots from {} on",
            slots.len(),
            wording::slot(*model, *first)
        )),
    }
    if physical > 0 {
        parts.push(format!("{physical} physical APIC IDs"));
    }
    if parts.is_empty() {
        parts.push("the highest physical APIC ID".to_owned());
    }
    let others = match MapRules::ALL.into_iter().find(|&rules| view.vm.fits(rules)) {
        Some(fitting) => format!("{fitting} would make it so"),
        None => "no map rules that ldrscope knows make it so".to_owned(),
    };
    format!(
        "the map that KVM published is not the one that the map rules {rules} make of the registers: they differ in {}; {others}",
        wording::in_words(&parts)
    )
}

fn entries<'a, K>(
    map: Option<&'a LogicalAndPhysicalMap>,
    of: fn(&'a LogicalAndPhysicalMap) -> &'a Vec<(K, VcpuIdx)>,
) -> &'a [(K, VcpuIdx)] {
    map.map_or(&[], |map| of(map))
}

/// One key at which two ascending lists of entries differ.
struct Differing<K> {
    key: K,
    left: Option<VcpuIdx>,
    right: Option<VcpuIdx>,
}

impl<K> Differing<K> {
    fn vcpus(&self) -> impl Iterator<Item = VcpuIdx> {
        self.left.into_iter().chain(self.right)
    }
}

fn differing<K: Copy + Ord>(mut left: &[(K, VcpuIdx)], mut right: &[(K, VcpuIdx)]) -> Vec<Differing<K>> {
    let mut differing = Vec::new();
    while let Some(key) = left
        .first()
        .into_iter()
        .chain(right.first())
        .map(|&(key, _)| key)
        .min()
    {
        let l = take(&mut left, key);
        let r = take(&mut right, key);
        if l != r {
            differing.push(Differing {
                key,
                left: l,
                right: r,
            });
        }
    }
    differing
}

/// Takes the first entry off `entries` if it has `key`.
fn take<K: Copy + Ord>(entries: &mut &[(K, VcpuIdx)], key: K) -> Option<VcpuIdx> {
    let (&(first, vcpu), rest) = entries.split_first()?;
    if first != key {
        return None;
    }
    *entries = rest;
    Some(vcpu)
}
