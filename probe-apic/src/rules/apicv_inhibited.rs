//! `apicv-inhibited`: KVM runs the VM without the APIC virtualisation (APICv, AVIC) that the host has, for a reason that
//! the VM's APIC IDs, LDRs or APIC bases are to blame for. Names the vCPU and the register of each reason.
//!
//! Which reasons count differs: Intel's APICv stays on while logical IDs are aliased, and KVM sets no such reason there
//! (`VMX_REQUIRED_APICV_INHIBITS`). Of another host whose rules are asked for it is not known.

use super::{
    Draft, View,
    conflict::{Conflict, only},
    physical_alias::{foreign_id, has_foreign_id},
};
use crate::{
    apicv::{Inhibit, InhibitKind},
    cause::Register,
    observation::VcpuSample,
    reg::ApicBase,
    rules::wording::{first_of, in_words},
    vm::MapInUse,
};

/// vCPUs that the summary names for one reason.
const SHOWN: usize = 2;

pub(super) fn find<'a>(view: &View<'a>) -> Vec<Draft<'a>> {
    if view.vm.as_if().is_some() {
        return Vec::new();
    }
    let blames: Vec<Blame<'a>> = view
        .vm
        .inhibits()
        .by_ids()
        .map(|reason| Blame::for_reason(view, reason))
        .collect();
    if blames.is_empty() {
        return Vec::new();
    }
    let clauses: Vec<String> = by_words(&blames)
        .into_iter()
        .map(|(names, words)| format!("{}, {words}", in_words(&names)))
        .collect();
    let registers = last_to_change(view, &blames).map_or(&[][..], |blame| blame.registers);
    let mut vcpus: Vec<_> = blames.into_iter().flat_map(|blame| blame.vcpus).collect();
    vcpus.sort_by_key(|vcpu| vcpu.id);
    vcpus.dedup_by_key(|vcpu| vcpu.id);
    vec![Draft {
        slot: None,
        slots: Vec::new(),
        suspected: false,
        registers,
        summary: format!(
            "KVM runs this VM without hardware APIC virtualisation (APICv, AVIC): {}",
            clauses.join("; ")
        ),
        vcpus,
    }]
}

/// Who brought a reason about.
struct Blame<'a> {
    reason: String,
    vcpus: Vec<&'a VcpuSample>,
    registers: &'static [Register],
    words: String,
}

impl<'a> Blame<'a> {
    fn for_reason(view: &View<'a>, reason: &Inhibit) -> Self {
        let everywhere = |is_to_blame: fn(&VcpuSample) -> bool| -> Vec<&'a VcpuSample> {
            view.vcpus.iter().filter(|vcpu| is_to_blame(vcpu)).collect()
        };
        let (vcpus, registers, words) = match reason.kind() {
            InhibitKind::PhysicalIdAliased | InhibitKind::LogicalIdAliased => conflict(view),
            InhibitKind::ApicIdModified => {
                let vcpus = everywhere(has_foreign_id);
                let words = since(
                    &vcpus,
                    foreign_id,
                    "an xAPIC ID was changed before and is right again",
                );
                (vcpus, only(Register::Id), words)
            }
            InhibitKind::ApicBaseModified => {
                let vcpus = everywhere(has_moved_base);
                let words = since(
                    &vcpus,
                    moved_base,
                    "an APIC base was moved before and is back again",
                );
                (vcpus, only(Register::ApicBase), words)
            }
            InhibitKind::PhysicalIdTooBig => too_big(view),
            InhibitKind::Unavailable | InhibitKind::Other => (Vec::new(), &[][..], String::new()),
        };
        Self {
            reason: reason.name().to_owned(),
            vcpus,
            registers,
            words,
        }
    }
}

type Blamed<'a> = (Vec<&'a VcpuSample>, &'static [Register], String);

fn since(vcpus: &[&VcpuSample], each: fn(&VcpuSample) -> String, before: &str) -> String {
    if vcpus.is_empty() {
        return format!("since {before}, which this KVM does not forget");
    }
    let each = vcpus.iter().map(|vcpu| each(vcpu));
    format!("since {}", in_words(&first_of(each, SHOWN)))
}

/// Aliased IDs are what KVM gave up the map for.
fn conflict<'a>(view: &View<'a>) -> Blamed<'a> {
    let null_map = matches!(view.vm.map_in_use(), MapInUse::Known(None));
    match Conflict::of(view, null_map) {
        Some(conflict) => (
            vec![conflict.vcpu],
            only(conflict.gave_up.register),
            format!("since {}", conflict.in_words(view)),
        ),
        None if view.vm.rebuild().is_none() => {
            let unknown = "since registers that cannot be named while the map rules are unknown";
            (Vec::new(), &[], unknown.to_owned())
        }
        None => {
            let gone = "since registers that have changed by now";
            (Vec::new(), &[], gone.to_owned())
        }
    }
}

/// The hardware's limit is not known here, but whoever is beyond it, the highest is.
fn too_big<'a>(view: &View<'a>) -> Blamed<'a> {
    match view.vcpus.iter().max_by_key(|vcpu| vcpu.id) {
        Some(vcpu) => (
            vec![vcpu],
            &[],
            format!(
                "since the hardware's tables do not reach as far as vCPU {}",
                vcpu.id
            ),
        ),
        None => (
            Vec::new(),
            &[],
            "since a vCPU's ID is beyond the hardware's tables".to_owned(),
        ),
    }
}

/// Whether an enabled APIC's register page is not where it is after RESET (`APIC_DEFAULT_PHYS_BASE`).
fn has_moved_base(vcpu: &VcpuSample) -> bool {
    let lapic = &vcpu.lapic;
    lapic.hw_enabled() && lapic.apic_base.address() != ApicBase::POWER_ON.address()
}

fn moved_base(vcpu: &VcpuSample) -> String {
    format!(
        "vCPU {} has moved its APIC base to {}",
        vcpu.id, vcpu.lapic.apic_base
    )
}

/// The reasons with the same words told in one.
fn by_words<'b>(blames: &'b [Blame<'_>]) -> Vec<(Vec<String>, &'b str)> {
    let mut told: Vec<(Vec<String>, &str)> = Vec::new();
    for blame in blames {
        match told.iter_mut().find(|(_, words)| *words == blame.words) {
            Some((names, _)) => names.push(blame.reason.clone()),
            None => told.push((vec![blame.reason.clone()], &blame.words)),
        }
    }
    told
}

/// The one whose registers changed last.
fn last_to_change<'b, 'a>(view: &View<'_>, blames: &'b [Blame<'a>]) -> Option<&'b Blame<'a>> {
    let changed_at = |blame: &&Blame<'_>| {
        let vcpus = blame.vcpus.iter().map(|vcpu| vcpu.id);
        let cause = view.vm.history().latest_cause(vcpus, blame.registers);
        cause.map(|cause| cause.at)
    };
    blames.iter().max_by_key(changed_at)
}
