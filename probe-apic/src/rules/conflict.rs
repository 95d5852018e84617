//! The conflict at which KVM gave up the optimised map, or the whole of it: which vCPU and register, in words.
//!
//! Where a recalculation gives up is [`mod@crate::rebuild`]'s to say; what follows from it, the rules'.

use super::{View, wording};
use crate::{
    cause::Register,
    id::VcpuIdx,
    observation::VcpuSample,
    rebuild::{GaveUp, GaveUpReason},
};

/// Registers that do not go together, and the vCPU to name for it.
#[derive(Clone, Copy)]
pub(super) struct Conflict<'a> {
    /// Of the vCPUs involved, the one that came to it last.
    pub(super) vcpu: &'a VcpuSample,
    pub(super) gave_up: GaveUp,
}

impl<'a> Conflict<'a> {
    /// Where the rebuild gave up, if it gave up the same thing: the whole map, or the logical part.
    pub(super) fn of(view: &View<'a>, null_map: bool) -> Option<Self> {
        let rebuild = view.vm.rebuild()?;
        let gave_up = rebuild.gave_up.filter(|_| rebuild.map.is_none() == null_map)?;
        let vcpu = culprit(view, gave_up)?;
        Some(Self { vcpu, gave_up })
    }

    /// `vCPU 2 (LDR 0x02000000) names slot 1 (flat bit 1), as vCPU 1 does`.
    pub(super) fn in_words(&self, view: &View<'_>) -> String {
        reason(view, self.gave_up, self.vcpu)
    }
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

pub(super) fn has_logical_id_while_enabled(vcpu: &VcpuSample) -> bool {
    let lapic = &vcpu.lapic;
    let has_id = if lapic.apic_base.x2apic() {
        lapic.ldr.0 != 0
    } else {
        !lapic.xapic_logical_id().is_zero()
    };
    lapic.enabled() && has_id
}

/// One register, as a list that lives as long as it takes.
pub(super) const fn only(register: Register) -> &'static [Register] {
    match register {
        Register::Id => &[Register::Id],
        Register::Ldr => &[Register::Ldr],
        Register::Dfr => &[Register::Dfr],
        Register::Svr => &[Register::Svr],
        Register::ApicBase => &[Register::ApicBase],
    }
}

/// A clause without a subject of its own: what `vcpu` has that does not go together with another.
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
