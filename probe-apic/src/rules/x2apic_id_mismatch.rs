//! `x2apic-id-mismatch`: a vCPU in x2APIC mode whose ID register is not its `vcpu_id`, or whose LDR is not the one that
//! follows from it (SDM vol. 3, "Deriving Logical x2APIC ID from the Local x2APIC ID").
//!
//! KVM makes both itself when a guest enters x2APIC mode; up to 6.10 `KVM_SET_LAPIC` could bring in others
//! (`kvm_apic_state_fixup`), by a restore of another vCPU's state. KVM delivers physical interrupts by `vcpu_id` whatever
//! the register says, and up to 6.2 enters the vCPU into the logical map under the LDR.

use super::{Draft, View};
use crate::{
    cause::Register,
    lapic::ApicMode,
    observation::VcpuSample,
    reg::Ldr,
    rules::wording::{first_of, in_words},
};

/// vCPUs that the summary names with their registers each.
const SHOWN: usize = 4;

pub(super) fn find<'a>(view: &View<'a>) -> Vec<Draft<'a>> {
    let vcpus: Vec<_> = view.vcpus.iter().filter(|vcpu| is_mismatched(vcpu)).collect();
    if vcpus.is_empty() {
        return Vec::new();
    }
    let each = vcpus.iter().map(|vcpu| {
        let lapic = &vcpu.lapic;
        format!(
            "vCPU {} holds x2APIC ID {} and LDR {} in place of its own {} and {}",
            vcpu.id,
            lapic.id,
            lapic.ldr,
            vcpu.id,
            Ldr::of_x2apic(vcpu.id.0)
        )
    });
    vec![Draft {
        slot: None,
        slots: Vec::new(),
        suspected: false,
        registers: &[Register::Id, Register::Ldr, Register::ApicBase],
        summary: format!(
            "{}; KVM delivers physical interrupts by the vCPU's number, whatever the register says",
            in_words(&first_of(each, SHOWN))
        ),
        vcpus,
    }]
}

fn is_mismatched(vcpu: &VcpuSample) -> bool {
    let lapic = &vcpu.lapic;
    lapic.mode() == ApicMode::X2apic && (lapic.id != vcpu.id.0 || lapic.ldr != Ldr::of_x2apic(vcpu.id.0))
}
