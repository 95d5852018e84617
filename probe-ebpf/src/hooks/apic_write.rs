//! Precise hooks: every guest write of a register that decides the map.

use probe_common::{
    event::kind,
    regs::{APIC_DFR, APIC_ID, APIC_LDR, APIC_SVR},
};

use super::hook;
use crate::{
    emit,
    kvm::Lapic,
    way::{self, Way},
};

hook!(reg_write, reg_write_fast, written);

/// `int kvm_lapic_reg_write(struct kvm_lapic *apic, u32 reg, u32 val)`, arch/x86/kvm/lapic.c, 5.10 to 7.3:
/// the one funnel of all guest writes. Hot without APICv/AVIC (EOI, TPR, timer, ICR), so the filter comes
/// before everything else.
#[inline(always)]
fn written<W: Way>(arg: impl Fn(usize) -> Option<u64>) -> Option<()> {
    let reg = arg(1)? as u32;
    if !matches!(reg, APIC_ID | APIC_LDR | APIC_DFR | APIC_SVR) || !W::speaks() {
        return None;
    }
    let (lapic, new) = (Lapic::<W>::at(arg(0)?), arg(2)? as u32);
    let vcpu = lapic.vcpu()?;
    let kvm = vcpu.kvm()?;
    let id = vcpu.id()?;
    // Under APICv the page already holds the new value.
    let old = if vcpu.apicv_active(lapic) {
        None
    } else {
        way::read::<u32>(lapic.registers()? + reg as u64)
    };
    let rip = vcpu.guest_rip();
    let mut entry = None;
    if !emit::admits(kvm, &mut entry) {
        return None;
    }
    emit::event(kind::WROTE, kvm, entry, |draft| {
        draft.vcpu(id);
        draft.what(reg);
        draft.given(new as u64);
        if let Some(old) = old {
            draft.old(old as u64);
        }
        if let Some(rip) = rip {
            draft.extra(rip);
        }
    });
    Some(())
}
