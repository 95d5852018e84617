//! `ldr-stale`: a left-over LDR. xAPIC only: a non-zero logical ID on a vCPU whose APIC is hardware- or
//! software-disabled; or, *suspected*, on an enabled vCPU whose LDR is older than the last life of another
//! vCPU that was restarted (INIT, or software enable off and on) and has written its LDR again.
//!
//! By itself normal: a stopped Linux CPU keeps its LDR. Up to 5.2 KVM enters it into the map all the same, and
//! an enabled APIC with such an LDR claims its slots under every kernel.

use super::{Draft, Lookup, View, ids, named_slots, wording};
use crate::{
    cause::Register,
    map_rules::MapRules,
    observation::VcpuSample,
    rules::wording::{VcpuList, in_words},
};

pub(super) fn find<'a>(view: &View<'a>) -> Vec<Draft<'a>> {
    let disabled: Vec<_> = view.vcpus.iter().filter(|vcpu| is_left_over(vcpu)).collect();
    let suspects: Vec<_> = view.vcpus.iter().filter(|vcpu| view.suspects(vcpu)).collect();
    if disabled.is_empty() && suspects.is_empty() {
        return Vec::new();
    }
    let mut clauses = Vec::new();
    if !disabled.is_empty() {
        clauses.push(left_over(view, &disabled));
    }
    if !suspects.is_empty() {
        let several = suspects.len() > 1;
        clauses.push(format!(
            "{} {} enabled with {} older than the restart of another vCPU, suspected to be left over",
            wording::with_ldrs(&suspects),
            if several { "are" } else { "is" },
            if several { "LDRs" } else { "an LDR" },
        ));
    }
    let suspected = disabled.is_empty();
    let vcpus: Vec<_> = disabled.into_iter().chain(suspects).collect();
    vec![Draft {
        slot: None,
        slots: named_slots(vcpus.iter().copied()),
        suspected,
        registers: &[Register::Svr, Register::ApicBase, Register::Ldr],
        summary: clauses.join("; "),
        vcpus,
    }]
}

/// Whether `vcpu` is disabled and has a logical ID.
fn is_left_over(vcpu: &VcpuSample) -> bool {
    let lapic = &vcpu.lapic;
    !lapic.enabled() && !lapic.apic_base.x2apic() && !lapic.xapic_logical_id().is_zero()
}

fn left_over(view: &View<'_>, disabled: &[&VcpuSample]) -> String {
    let several = disabled.len() > 1;
    let fact = format!(
        "{} {} disabled but {} {} LDR",
        wording::with_ldrs(disabled),
        if several { "are" } else { "is" },
        if several { "keep" } else { "keeps" },
        if several { "their" } else { "its" },
    );
    let stolen = stolen_slots(view, disabled);
    if !stolen.is_empty() {
        return format!("{fact}; {}, where interrupts are lost", in_words(&stolen));
    }
    match view.vm.rules() {
        Some(MapRules::Overwrite | MapRules::ConflictDisables) => {
            format!("{fact}; this KVM leaves disabled APICs out of its map, one up to 5.2 would not")
        }
        Some(MapRules::KeepDisabled) | None => fact,
    }
}

/// The slots of the map in use that point at a disabled vCPU.
fn stolen_slots(view: &View<'_>, disabled: &[&VcpuSample]) -> Vec<String> {
    let Lookup::Slots(model, map) = view.lookup() else {
        return Vec::new();
    };
    let owner = |&(slot, idx): &(_, _)| {
        let vcpu = view.vm.vcpu(idx).filter(|vcpu| is_left_over(vcpu))?;
        Some(format!(
            "{} points at vCPU {}",
            wording::slot(model, slot),
            vcpu.id
        ))
    };
    let stolen: Vec<String> = map.slots.iter().filter_map(owner).collect();
    if stolen.len() <= 4 {
        return stolen;
    }
    vec![format!(
        "{} slots of the map point at {}",
        stolen.len(),
        VcpuList::new(ids(disabled.iter().copied()))
    )]
}
