//! `map-disabled`: KVM scans for every logical interrupt though an enabled vCPU has a logical ID, or the map is
//! NULL after an APIC event. Names the vCPU and the register at which KVM gave up, where the map rules tell.
//!
//! The interrupts arrive; each costs a walk over all vCPUs, and on AMD the VM loses AVIC (6.3 on).

use super::{Draft, View};
use crate::{
    cause::Register,
    id::VcpuIdx,
    map::MapMode,
    observation::VcpuSample,
    rebuild::{GaveUp, GaveUpReason},
    rules::wording,
    vm::MapInUse,
};

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
    let Some(gave_up) = gave_up(view, map.is_none()) else {
        return vec![draft(Vec::new(), &[], format!("{what}: {cost}"))];
    };
    let Some(vcpu) = culprit(view, gave_up) else {
        return vec![draft(Vec::new(), &[], format!("{what}: {cost}"))];
    };
    let summary = format!("{what}, since {}: {cost}", reason(view, gave_up, vcpu));
    vec![draft(vec![vcpu], only(gave_up.register), summary)]
}

/// Of the vCPUs that do not go together, the one that came to it last; KVM gives up at the one it walks last.
fn culprit<'a>(view: &View<'a>, gave_up: GaveUp) -> Option<&'a VcpuSample> {
    let at = view.vm.vcpu(gave_up.vcpu)?;
    let involved: Vec<&VcpuSample> = match gave_up.reason {
        GaveUpReason::MultiBitLdr => vec![at],
        GaveUpReason::SlotTaken { by, .. } | GaveUpReason::PhysicalIdTaken { by, .. } => {
            view.vm.vcpu(by).into_iter().chain([at]).collect()
        }
        GaveUpReason::SecondMode => view
            .vcpus
            .iter()
            .filter(|vcpu| has_logical_id_while_enabled(vcpu))
            .chain([at])
            .collect(),
    };
    let changed_at = |vcpu: &&VcpuSample| {
        let registers = only(gave_up.register);
        view.vm
            .history()
            .latest_cause(std::iter::once(vcpu.id), registers)
            .map(|cause| cause.at)
    };
    involved.into_iter().max_by_key(changed_at)
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

fn has_logical_id_while_enabled(vcpu: &VcpuSample) -> bool {
    let lapic = &vcpu.lapic;
    let has_id = if lapic.apic_base.x2apic() {
        lapic.ldr.0 != 0
    } else {
        !lapic.xapic_logical_id().is_zero()
    };
    lapic.enabled() && has_id
}

/// Where the rebuild gave up, if it gave up the same thing.
fn gave_up(view: &View<'_>, null_map: bool) -> Option<GaveUp> {
    let rebuild = view.vm.rebuild()?;
    rebuild.gave_up.filter(|_| rebuild.map.is_none() == null_map)
}

const fn only(register: Register) -> &'static [Register] {
    match register {
        Register::Id => &[Register::Id],
        Register::Ldr => &[Register::Ldr],
        Register::Dfr => &[Register::Dfr],
        Register::Svr => &[Register::Svr],
        Register::ApicBase => &[Register::ApicBase],
    }
}

fn reason(view: &View<'_>, gave_up: GaveUp, vcpu: &VcpuSample) -> String {
    let other = |by: VcpuIdx| {
        let other = if by == vcpu.idx { gave_up.vcpu } else { by };
        view.vm
            .vcpu_id(other)
            .map_or_else(|| "another".to_owned(), |id| format!("vCPU {id}"))
    };
    let (id, lapic) = (vcpu.id, &vcpu.lapic);
    match gave_up.reason {
        GaveUpReason::MultiBitLdr => format!("vCPU {id} has the multi-bit LDR {}", lapic.ldr),
        GaveUpReason::SlotTaken { slot, by } => format!(
            "vCPU {id} (LDR {}) names {}, as {} does",
            lapic.ldr,
            wording::slot(lapic.dfr.model_of_map(), slot),
            other(by)
        ),
        GaveUpReason::SecondMode if gave_up.register == Register::ApicBase => {
            let mode = if lapic.apic_base.x2apic() {
                "x2APIC"
            } else {
                "xAPIC"
            };
            format!(
                "vCPU {id} is in {mode} mode and another is not (APIC base {})",
                lapic.apic_base
            )
        }
        GaveUpReason::SecondMode => {
            format!("vCPU {id} (DFR {}) is not of the model of another", lapic.dfr)
        }
        GaveUpReason::PhysicalIdTaken { id: apic_id, by } => {
            format!(
                "vCPU {id} has the physical APIC ID {apic_id}, as {} does",
                other(by)
            )
        }
    }
}
