//! The routes by which registers change without a guest's register write: KVM_SET_LAPIC, reset, INIT and
//! changes of IA32_APIC_BASE. Each note carries the registers as they were on entry.

use aya_ebpf::{macros::kprobe, programs::ProbeContext};
use probe_common::event::{Event, kind, route, valid};

use super::recalculation::describe;
use crate::{emit, kvm::Vcpu};

/// `int kvm_apic_set_state(struct kvm_vcpu *vcpu, struct kvm_lapic_state *s)`, arch/x86/kvm/lapic.c, 5.10
/// to 7.3: KVM_SET_LAPIC. It always ends in a recalculation.
#[kprobe]
fn set_lapic(ctx: ProbeContext) -> u32 {
    if let Some(vcpu) = ctx.arg::<u64>(0) {
        let _ = entered(Vcpu::at(vcpu), route::SET_LAPIC, |_| ());
    }
    0
}

/// `void kvm_lapic_reset(struct kvm_vcpu *vcpu, bool init_event)`, arch/x86/kvm/lapic.c, 5.10 to 7.3.
#[kprobe]
fn lapic_reset(ctx: ProbeContext) -> u32 {
    if let (Some(vcpu), Some(init)) = (ctx.arg::<u64>(0), ctx.arg::<u64>(1)) {
        // A bool argument: only the low byte is defined.
        let route = if init & 0xff != 0 {
            route::INIT
        } else {
            route::RESET
        };
        let _ = entered(Vcpu::at(vcpu), route, |_| ());
    }
    0
}

/// `void kvm_lapic_set_base(struct kvm_vcpu *vcpu, u64 value)`, 5.10 and 6.1;
/// `void __kvm_apic_set_base(struct kvm_vcpu *vcpu, u64 value)`, 6.12 to 7.3; arch/x86/kvm/lapic.c.
#[kprobe]
fn apic_base(ctx: ProbeContext) -> u32 {
    if let (Some(vcpu), Some(new)) = (ctx.arg::<u64>(0), ctx.arg::<u64>(1)) {
        let vcpu = Vcpu::at(vcpu);
        let Some(old) = vcpu.apic_base() else { return 0 };
        // KVM_SET_LAPIC passes the present value through this function: no change, no note.
        if old != new {
            let _ = entered(vcpu, route::APIC_BASE, |record| {
                record.old = old;
                record.new = new;
                record.valid |= valid::OLD;
            });
        }
    }
    0
}

#[inline(always)]
fn entered(vcpu: Vcpu, route: u32, fill: impl FnOnce(&mut Event)) -> Option<()> {
    let kvm = vcpu.kvm()?;
    let mut entry = None;
    if !emit::admits(kvm, &mut entry) {
        return None;
    }
    emit::event(kind::ENTERED, kvm, entry, |record| {
        record.what = route;
        describe(record, vcpu);
        fill(record);
    });
    Some(())
}
