//! The routes by which registers change without a guest's register write: KVM_SET_LAPIC, reset, INIT and
//! changes of IA32_APIC_BASE. Each note carries the registers as they were on entry.

use probe_common::event::{kind, route};

use super::hook;
use crate::{
    emit::{self, Draft},
    kvm::{Vcpu, registers},
    way::Way,
};

hook!(set_lapic, set_lapic_fast, restored);

/// `int kvm_apic_set_state(struct kvm_vcpu *vcpu, struct kvm_lapic_state *s)`, arch/x86/kvm/lapic.c, 5.10
/// to 7.3: KVM_SET_LAPIC. It always ends in a recalculation.
#[inline(always)]
fn restored<W: Way>(arg: impl Fn(usize) -> Option<u64>) -> Option<()> {
    entered(Vcpu::<W>::at(arg(0)?), route::SET_LAPIC, |_| ())
}

hook!(lapic_reset, lapic_reset_fast, reset);

/// `void kvm_lapic_reset(struct kvm_vcpu *vcpu, bool init_event)`, arch/x86/kvm/lapic.c, 5.10 to 7.3.
#[inline(always)]
fn reset<W: Way>(arg: impl Fn(usize) -> Option<u64>) -> Option<()> {
    // A bool argument: only the low byte is defined.
    let route = if arg(1)? & 0xff != 0 {
        route::INIT
    } else {
        route::RESET
    };
    entered(Vcpu::<W>::at(arg(0)?), route, |_| ())
}

hook!(apic_base, apic_base_fast, based);

/// `void kvm_lapic_set_base(struct kvm_vcpu *vcpu, u64 value)`, 5.10 and 6.1;
/// `void __kvm_apic_set_base(struct kvm_vcpu *vcpu, u64 value)`, 6.12 to 7.3; arch/x86/kvm/lapic.c.
#[inline(always)]
fn based<W: Way>(arg: impl Fn(usize) -> Option<u64>) -> Option<()> {
    let (vcpu, new) = (Vcpu::<W>::at(arg(0)?), arg(1)?);
    let old = vcpu.apic_base()?;
    // KVM_SET_LAPIC passes the present value through this function: no change, no note.
    if old == new {
        return None;
    }
    entered(vcpu, route::APIC_BASE, |draft| {
        draft.old(old);
        draft.given(new);
    })
}

#[inline(always)]
fn entered<W: Way>(vcpu: Vcpu<W>, route: u32, fill: impl FnOnce(&mut Draft)) -> Option<()> {
    if !W::speaks() {
        return None;
    }
    let kvm = vcpu.kvm()?;
    let mut entry = None;
    if !emit::admits(kvm, &mut entry) {
        return None;
    }
    emit::event(kind::ENTERED, kvm, entry, |draft| {
        draft.what(route);
        if let Some(known) = vcpu.known(entry.as_ref(), draft.number(vcpu.address())) {
            draft.vcpu(known.id);
            if let Some(apic_base) = vcpu.apic_base()
                && let Some(registers) = registers(known.page, apic_base)
            {
                draft.registers(registers);
            }
        }
        fill(draft);
    });
    Some(())
}
