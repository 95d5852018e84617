//! `ldr-multi-bit`: an enabled xAPIC vCPU has a multi-bit LDR, that is, one that names more than one slot under
//! its DFR.
//!
//! Legal (the APIC answers to each bit), but never produced by an operating system that uses logical mode.
//! Before 6.3 KVM enters such an LDR under its lowest bit only; from 6.3 on it gives up the optimised map.

use super::{CLAIM_REGISTERS, Draft, Lookup, View, named_slots, wording};
use crate::observation::VcpuSample;

pub(super) fn find<'a>(view: &View<'a>) -> Vec<Draft<'a>> {
    let is_multi_bit = |vcpu: &&VcpuSample| vcpu.lapic.claims().is_some_and(|claimed| claimed.count() > 1);
    let vcpus: Vec<_> = view.vcpus.iter().filter(is_multi_bit).collect();
    if vcpus.is_empty() {
        return Vec::new();
    }
    let consequence = match view.lookup() {
        Lookup::Slots(..) => "; KVM enters each under its lowest bit alone",
        Lookup::Scan => "; KVM has no optimised logical map and scans all vCPUs",
        Lookup::Other => "",
    };
    let verb = if vcpus.len() == 1 {
        "has a multi-bit LDR"
    } else {
        "have multi-bit LDRs"
    };
    vec![Draft {
        slot: None,
        slots: named_slots(vcpus.iter().copied()),
        suspected: false,
        registers: CLAIM_REGISTERS,
        summary: format!("{} {verb}{consequence}", wording::with_ldrs(&vcpus)),
        vcpus,
    }]
}
