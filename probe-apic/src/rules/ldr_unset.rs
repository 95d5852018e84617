//! `ldr-unset`: an enabled xAPIC vCPU names no slot (its logical ID is zero, or has no slot bit) while others
//! of its VM claim some. No logical interrupt but broadcast can reach it. A vCPU whose DFR makes its logical ID
//! meaningless is left to `dfr-invalid`.

use super::{CLAIM_REGISTERS, Draft, View, wording};
use crate::observation::VcpuSample;

pub(super) fn find<'a>(view: &View<'a>) -> Vec<Draft<'a>> {
    if view.claims.are_none() {
        return Vec::new();
    }
    let names_none = |vcpu: &&VcpuSample| match vcpu.lapic.claims() {
        Some(claimed) => claimed.is_empty(),
        None => vcpu.lapic.xapic_logical_id().is_zero(),
    };
    let vcpus: Vec<_> = view.enabled_xapics().filter(names_none).collect();
    if vcpus.is_empty() {
        return Vec::new();
    }
    let (verb, whom) = if vcpus.len() == 1 {
        ("names", "it")
    } else {
        ("name", "them")
    };
    vec![Draft {
        slot: None,
        slots: Vec::new(),
        suspected: false,
        registers: CLAIM_REGISTERS,
        summary: format!(
            "{} {verb} no slot while other vCPUs do; no logical interrupt but broadcast can reach {whom}",
            wording::with_ldrs(&vcpus)
        ),
        vcpus,
    }]
}
