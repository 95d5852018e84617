//! `physical-alias`: hardware-enabled vCPUs share the physical APIC ID by which KVM looks them up (bits 31:24 of the ID
//! register in xAPIC mode, `vcpu_id` in x2APIC mode), or an xAPIC ID was changed from the vCPU's own.
//!
//! A vCPU of a large VM that was never software-enabled shares the low byte of its `vcpu_id` with another until its
//! guest takes it to x2APIC mode. That is how every such VM boots, and no finding.

use std::collections::BTreeMap;

use super::{Draft, View, ids, wording::VcpuList};
use crate::{
    cause::Register,
    id::ApicId,
    lapic::ApicMode,
    observation::VcpuSample,
    rules::wording::{first_of, in_words},
    vm::MapInUse,
};

/// Shared IDs, and vCPUs with a changed ID, that the summary names each.
const SHOWN: usize = 4;

pub(super) fn find<'a>(view: &View<'a>) -> Vec<Draft<'a>> {
    let shared = shared_ids(view);
    let changed: Vec<_> = view.vcpus.iter().filter(|vcpu| has_foreign_id(vcpu)).collect();
    if shared.is_empty() && changed.is_empty() {
        return Vec::new();
    }
    let sharing = shared.iter().map(|(id, vcpus)| {
        format!(
            "physical APIC ID {id} is that of {}",
            VcpuList::new(ids(vcpus.iter().copied()))
        )
    });
    let mut clauses = Vec::new();
    if !shared.is_empty() {
        clauses.push(format!(
            "{}; {}",
            in_words(&first_of(sharing, SHOWN)),
            consequence(view, &shared)
        ));
    }
    if !changed.is_empty() {
        clauses.push(in_words(&first_of(
            changed.iter().map(|vcpu| foreign_id(vcpu)),
            SHOWN,
        )));
    }
    let mut vcpus: Vec<_> = shared.into_values().flatten().chain(changed).collect();
    vcpus.sort_by_key(|vcpu| vcpu.id);
    vcpus.dedup_by_key(|vcpu| vcpu.id);
    vec![Draft {
        slot: None,
        slots: Vec::new(),
        suspected: false,
        registers: &[Register::Id, Register::ApicBase],
        summary: clauses.join("; "),
        vcpus,
    }]
}

/// The IDs that several vCPUs are looked up by, and those vCPUs.
fn shared_ids<'a>(view: &View<'a>) -> BTreeMap<ApicId, Vec<&'a VcpuSample>> {
    let is_told_apart = |vcpu: &&VcpuSample| !is_waiting_for_x2apic(vcpu);
    let mut by_id: Vec<(ApicId, &VcpuSample)> = view
        .vcpus
        .iter()
        .filter(is_told_apart)
        .filter_map(|vcpu| Some((physical_id(vcpu)?, vcpu)))
        .collect();
    // Stable: the vCPUs of one ID stay in order of creation.
    by_id.sort_by_key(|&(id, _)| id);
    let runs = by_id.chunk_by(|(one, _), (next, _)| one == next);
    runs.filter(|run| run.len() > 1)
        .map(|run| (run[0].0, run.iter().map(|&(_, vcpu)| vcpu).collect()))
        .collect()
}

/// The ID by which KVM looks a vCPU up; `None` while it is hardware-disabled.
const fn physical_id(vcpu: &VcpuSample) -> Option<ApicId> {
    match vcpu.lapic.mode() {
        ApicMode::Disabled => None,
        ApicMode::Xapic => Some(ApicId(vcpu.lapic.xapic_id())),
        ApicMode::X2apic => Some(ApicId(vcpu.id.0)),
    }
}

/// A vCPU that no xAPIC ID can tell from another, and that its guest has not enabled yet.
fn is_waiting_for_x2apic(vcpu: &VcpuSample) -> bool {
    let lapic = &vcpu.lapic;
    vcpu.id.0 > 0xff && lapic.mode() == ApicMode::Xapic && !lapic.sw_enabled && !has_foreign_id(vcpu)
}

/// Whether it is in xAPIC mode with an ID that is not the low byte of its `vcpu_id`.
pub(super) fn has_foreign_id(vcpu: &VcpuSample) -> bool {
    vcpu.lapic.mode() == ApicMode::Xapic && vcpu.lapic.xapic_id() != vcpu.id.0 & 0xff
}

/// `vCPU 3 has the xAPIC ID 7 in place of its own 3`.
pub(super) fn foreign_id(vcpu: &VcpuSample) -> String {
    format!(
        "vCPU {} has the xAPIC ID {} in place of its own {}",
        vcpu.id,
        vcpu.lapic.xapic_id(),
        vcpu.id.0 & 0xff
    )
}

fn consequence(view: &View<'_>, shared: &BTreeMap<ApicId, Vec<&VcpuSample>>) -> String {
    let MapInUse::Known(map) = view.vm.map_in_use() else {
        return "which of them KVM delivers to is not known".to_owned();
    };
    let Some(map) = map else {
        return "KVM has no map and scans all vCPUs".to_owned();
    };
    let owner = |id: &ApicId| {
        let at = map.physical.binary_search_by_key(id, |&(id, _)| id).ok()?;
        view.vm.vcpu_id(map.physical[at].1)
    };
    match shared.keys().next() {
        Some(id) if shared.len() == 1 => match owner(id) {
            Some(vcpu) => format!("KVM delivers to vCPU {vcpu} alone"),
            None => "KVM has nobody under it".to_owned(),
        },
        _ => "KVM delivers to one vCPU of each".to_owned(),
    }
}
