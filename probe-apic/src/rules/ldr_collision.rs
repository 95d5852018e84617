//! `ldr-collision`: two or more vCPUs claim the same slot. One finding a slot.
//!
//! A hardware- and software-enabled xAPIC vCPU claims every slot that its LDR names under its DFR; disabled
//! vCPUs claim nothing. Before 6.3 the vCPU created last among those that KVM enters there gets every interrupt
//! for the slot and the others none; from 6.3 on KVM gives up the optimised map.

use super::{CLAIM_REGISTERS, Draft, Lookup, View, claims::Collision, ids, wording};
use crate::{id::Slot, logical_id::Model};

pub(super) fn find<'a>(view: &View<'a>) -> Vec<Draft<'a>> {
    let mut drafts: Vec<Draft<'a>> = Vec::new();
    for collision in view.claims.collisions(view.vcpus) {
        let slot = collision.slot;
        let draft = draft(view, collision);
        // A flat bit and a slot of cluster 0 share a key; where both collide they are one finding.
        match drafts.iter_mut().find(|other| other.slot == Some(slot)) {
            Some(other) => {
                other.vcpus.extend(draft.vcpus);
                other.slots.extend(draft.slots);
                other.summary = format!("{}; {}", other.summary, draft.summary);
            }
            None => drafts.push(draft),
        }
    }
    drafts.sort_by_key(|draft| draft.slot);
    drafts
}

fn draft<'a>(view: &View<'a>, collision: Collision<'a>) -> Draft<'a> {
    let Collision { model, slot, vcpus } = collision;
    let suspects: Vec<_> = vcpus.iter().copied().filter(|vcpu| view.suspects(vcpu)).collect();
    let mut summary = format!(
        "{} is claimed by {}; {}",
        wording::slot(model, slot),
        wording::with_ldrs(&vcpus),
        consequence(view, slot, model)
    );
    if !suspects.is_empty() {
        let list = wording::VcpuList::new(ids(suspects));
        let what = list.verb("the LDR of", "the LDRs of");
        let verb = list.verb("is", "are");
        summary = format!("{summary}; {what} {list} {verb} suspected to be left over");
    }
    Draft {
        slot: Some(slot),
        vcpus,
        slots: vec![(model, slot)],
        suspected: false,
        registers: CLAIM_REGISTERS,
        summary,
    }
}

fn consequence(view: &View<'_>, slot: Slot, model: Model) -> String {
    match view.lookup() {
        Lookup::Slots(used, map) if used == model => {
            match map.in_slot(slot).and_then(|idx| view.vm.vcpu(idx)) {
                Some(owner) if owner.lapic.enabled() => {
                    format!(
                        "KVM delivers to vCPU {} (LDR {}) alone",
                        owner.id, owner.lapic.ldr
                    )
                }
                Some(owner) => format!(
                    "KVM hands its interrupts to vCPU {} (LDR {}), whose disabled APIC drops them",
                    owner.id, owner.lapic.ldr
                ),
                None => "KVM has nobody in it and drops its interrupts".to_owned(),
            }
        }
        Lookup::Scan => "KVM has no optimised logical map and scans all vCPUs".to_owned(),
        Lookup::Slots(..) | Lookup::Other => "KVM does not look it up by slots at the moment".to_owned(),
    }
}
