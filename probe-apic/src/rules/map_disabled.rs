//! `map-disabled`: KVM scans for every logical interrupt though an enabled vCPU has a logical ID, or the map is
//! NULL after an APIC event. Names the vCPU and the register at which KVM gave up, where the map rules tell.
//!
//! The interrupts arrive; each costs a walk over all vCPUs. Whether the VM loses APICv or AVIC as well is left to
//! `apicv-inhibited`.

use super::{
    Draft, View,
    conflict::{Conflict, has_logical_id_while_enabled, only},
};
use crate::{cause::Register, map::MapMode, observation::VcpuSample, vm::MapInUse};

pub(super) fn find<'a>(view: &View<'a>) -> Vec<Draft<'a>> {
    let MapInUse::Known(map) = view.vm.map_in_use() else {
        return Vec::new();
    };
    let applies = match map {
        None => view.vcpus.iter().any(had_apic_event),
        Some(map) if matches!(map.mode, MapMode::Disabled | MapMode::Mixed) => {
            view.vcpus.iter().any(has_logical_id_while_enabled)
        }
        Some(_) => false,
    };
    if !applies {
        return Vec::new();
    }
    let what = if map.is_none() {
        "KVM has no map at all"
    } else {
        "KVM has no optimised logical map"
    };
    let cost = format!("every logical interrupt scans all {} vCPUs", view.vcpus.len());
    let Some(conflict) = Conflict::of(view, map.is_none()) else {
        return vec![draft(Vec::new(), &[], format!("{what}: {cost}"))];
    };
    let summary = format!("{what}, since {}: {cost}", conflict.in_words(view));
    vec![draft(
        vec![conflict.vcpu],
        only(conflict.gave_up.register),
        summary,
    )]
}

fn draft<'a>(vcpus: Vec<&'a VcpuSample>, registers: &'static [Register], summary: String) -> Draft<'a> {
    Draft {
        slot: None,
        vcpus,
        slots: Vec::new(),
        suspected: false,
        registers,
        summary,
    }
}

/// A vCPU that KVM never entered may stand beside a NULL map: none was built yet.
fn had_apic_event(vcpu: &VcpuSample) -> bool {
    vcpu.lapic.differs_from(&crate::lapic::Lapic::power_on(vcpu.id))
}
