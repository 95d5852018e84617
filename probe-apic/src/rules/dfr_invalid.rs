//! `dfr-invalid`: a DFR that is neither flat (0xffffffff) nor cluster (0x0fffffff), on a vCPU that is not in
//! x2APIC mode (which has no DFR), enabled or not.
//!
//! KVM's two readings of such a value differ: its map takes it as cluster (`kvm_recalculate_apic_map`), its
//! scan matches nothing (`kvm_apic_match_logical_addr`).

use super::{Draft, View, named_slots};
use crate::{
    cause::Register,
    observation::VcpuSample,
    rules::wording::{first_of, in_words},
};

/// vCPUs that the summary names with their DFR each.
const SHOWN: usize = 4;

pub(super) fn find<'a>(view: &View<'a>) -> Vec<Draft<'a>> {
    let is_invalid =
        |vcpu: &&VcpuSample| !vcpu.lapic.apic_base.x2apic() && vcpu.lapic.dfr.model_of_scan().is_none();
    let vcpus: Vec<_> = view.vcpus.iter().filter(is_invalid).collect();
    if vcpus.is_empty() {
        return Vec::new();
    }
    let each = vcpus
        .iter()
        .map(|vcpu| format!("vCPU {} (DFR {})", vcpu.id, vcpu.lapic.dfr));
    let verb = if vcpus.len() == 1 {
        "has a DFR"
    } else {
        "have DFRs"
    };
    vec![Draft {
        slot: None,
        slots: named_slots(vcpus.iter().copied()),
        suspected: false,
        registers: &[Register::Dfr, Register::Svr, Register::ApicBase, Register::Ldr],
        summary: format!(
            "{} {verb} neither flat nor cluster; KVM's map takes that as cluster, its scan as no match at all",
            in_words(&first_of(each, SHOWN))
        ),
        vcpus,
    }]
}
