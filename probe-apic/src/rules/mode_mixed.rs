//! `mode-mixed`: enabled vCPUs differ in flat / cluster / x2APIC, LDR or not. Every APIC of a system has to use
//! the same (SDM vol. 3, "Logical Destination Mode and Local APIC ID"). KVM then has no optimised logical map
//! as soon as LDRs of two modes are set. A DFR of no valid model is left to `dfr-invalid`.

use super::{Draft, View, ids, wording::VcpuList};
use crate::{
    cause::Register,
    lapic::{ApicMode, Lapic},
    logical_id::Model,
    rules::wording::in_words,
};

pub(super) fn find<'a>(view: &View<'a>) -> Vec<Draft<'a>> {
    let modes = ["flat", "cluster", "x2APIC"];
    let mut of_mode = [Vec::new(), Vec::new(), Vec::new()];
    for vcpu in view.vcpus.iter().filter(|vcpu| vcpu.lapic.enabled()) {
        if let Some(mode) = mode(&vcpu.lapic) {
            of_mode[mode].push(vcpu);
        }
    }
    if of_mode.iter().filter(|vcpus| !vcpus.is_empty()).count() < 2 {
        return Vec::new();
    }
    let each: Vec<String> = modes
        .into_iter()
        .zip(&of_mode)
        .filter(|(_, vcpus)| !vcpus.is_empty())
        .map(|(mode, vcpus)| {
            let list = VcpuList::new(ids(vcpus.iter().copied()));
            format!("{list} {} {mode}", list.verb("is", "are"))
        })
        .collect();
    vec![Draft {
        slot: None,
        vcpus: of_mode.into_iter().flatten().collect(),
        slots: Vec::new(),
        suspected: false,
        registers: &[Register::ApicBase, Register::Dfr, Register::Svr],
        summary: format!("enabled vCPUs differ in mode: {}", in_words(&each)),
    }]
}

/// The place of an enabled APIC's mode: flat, cluster, x2APIC.
fn mode(lapic: &Lapic) -> Option<usize> {
    match (lapic.mode(), lapic.dfr.model()) {
        (ApicMode::X2apic, _) => Some(2),
        (_, Some(Model::Flat)) => Some(0),
        (_, Some(Model::Cluster)) => Some(1),
        (_, None) => None,
    }
}
