//! Precise hooks: every guest write of a register that decides the map.

use aya_ebpf::{macros::kprobe, programs::ProbeContext};
use probe_common::{
    event::{kind, valid},
    regs::{APIC_DFR, APIC_ID, APIC_LDR, APIC_SVR},
};

use crate::{
    emit,
    kvm::{self, Lapic},
};

/// `int kvm_lapic_reg_write(struct kvm_lapic *apic, u32 reg, u32 val)`, arch/x86/kvm/lapic.c, 5.10 to 7.3:
/// the one funnel of all guest writes. Hot without APICv/AVIC (EOI, TPR, timer, ICR), so the filter comes
/// before everything else.
#[kprobe]
fn reg_write(ctx: ProbeContext) -> u32 {
    if let Some(reg) = ctx.arg::<u32>(1)
        && matches!(reg, APIC_ID | APIC_LDR | APIC_DFR | APIC_SVR)
    {
        let _ = try_reg_write(&ctx, reg);
    }
    0
}

#[inline(always)]
fn try_reg_write(ctx: &ProbeContext, reg: u32) -> Option<()> {
    let lapic = Lapic::at(ctx.arg::<u64>(0)?);
    let new = ctx.arg::<u32>(2)?;
    let vcpu = lapic.vcpu()?;
    let kvm = vcpu.kvm()?;
    let id = vcpu.id()?;
    // Under APICv the page already holds the new value.
    let old = if vcpu.apicv_active(lapic) {
        None
    } else {
        kvm::read::<u32>(lapic.registers()? + reg as u64)
    };
    let rip = vcpu.guest_rip();
    let mut entry = None;
    if !emit::admits(kvm, &mut entry) {
        return None;
    }
    emit::event(kind::WROTE, kvm, entry, |record| {
        record.vcpu_id = id;
        record.what = reg;
        record.new = new as u64;
        record.valid = valid::VCPU;
        if let Some(old) = old {
            record.old = old as u64;
            record.valid |= valid::OLD;
        }
        if let Some(rip) = rip {
            record.extra = rip;
            record.valid |= valid::EXTRA;
        }
    });
    Some(())
}
