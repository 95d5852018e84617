//! KVM's recalculation of a VM's map: its end (always) and its beginning (precise hooks only), and the changes of
//! pins and routes that partly come the same way.

use aya_ebpf::{helpers::bpf_get_current_pid_tgid, macros::kprobe, programs::ProbeContext};
use probe_common::event::{Event, kind, valid};

use crate::{
    emit,
    kvm::{Kvm, Vcpu},
    layout::precise,
    maps::{ENTERED_AT, VMS, VmEntry},
};

/// `void kvm_make_scan_ioapic_request(struct kvm *kvm)`, arch/x86/kvm/x86.c, 5.10 to 7.3: the last act of
/// every completed recalculation, after the new map is published and the lock released. Guest writes of
/// IOAPIC pins and, with a split irqchip, changes of MSI routes end here too; they leave the map's address alone.
#[kprobe]
fn recalculated(ctx: ProbeContext) -> u32 {
    if let Some(address) = ctx.arg::<u64>(0) {
        let _ = try_recalculated(Kvm::at(address));
    }
    0
}

#[inline(always)]
fn try_recalculated(kvm: Kvm) -> Option<()> {
    let mut seen = None;
    let mut kind = kind::RECALCULATED;
    if let Some(entry) = VMS.get_ptr_mut(kvm.address()) {
        kind = note_map(entry, kvm)?;
        if !emit::answers(entry) {
            return None;
        }
        // SAFETY: the verifier proved that the entry exists.
        seen = Some(unsafe { *entry });
    }
    // Looked up in here, since an Option that is kept across the reservation goes through the stack, of which the
    // verifier lets nothing be read before 6.3 that was not written on every path.
    emit::event(kind, kvm, seen, |record| {
        if precise()
            && let Some(spent) = time_spent()
        {
            record.extra = spent;
            record.valid |= valid::EXTRA;
        }
        if let Some(vcpu) = Vcpu::running()
            && vcpu.kvm() == Some(kvm)
        {
            describe(record, vcpu);
        }
    });
    Some(())
}

/// Tells a new map from the old one by its address, and keeps it. A NULL map may follow a NULL map: then it counts
/// as recalculated.
///
/// Two CPUs may come here for one VM. A task that was held up between publishing and this point can put an older
/// address back: the next change of a pin then passes for a recalculation, which costs a read and nothing else.
/// The number of vCPUs is confirmed by userspace against the map itself.
#[inline(always)]
fn note_map(entry: *mut VmEntry, kvm: Kvm) -> Option<u16> {
    // SAFETY: the caller's entry exists; every field is a plain integer, read and written whole.
    let kept = unsafe { (*entry).apic_map };
    let map = kvm.apic_map()?;
    if kept == map && map != 0 {
        return Some(kind::ROUTES_CHANGED);
    }
    let walked = kvm.online_vcpus()?;
    // SAFETY: as above.
    unsafe { (*entry).mapped_vcpus = walked };
    // SAFETY: as above.
    unsafe { (*entry).apic_map = map };
    // SAFETY: as above.
    let counter = unsafe { &raw mut (*entry).recalculations };
    emit::add_one(counter);
    Some(kind::RECALCULATED)
}

/// `void kvm_make_scan_ioapic_request_mask(struct kvm *kvm, unsigned long *vcpu_bitmap)`, arch/x86/kvm/x86.c, 5.5 to
/// 7.3: a guest wrote an IOAPIC pin of fixed delivery (`ioapic_write_indirect`).
#[kprobe]
fn pin_written(ctx: ProbeContext) -> u32 {
    routes_changed(&ctx)
}

/// `void kvm_arch_irq_routing_update(struct kvm *kvm)`, arch/x86/kvm/irq_comm.c, 5.10 to 6.15, arch/x86/kvm/irq.c, 6.16
/// to 7.3: KVM_SET_GSI_ROUTING published a new table. Only with a split irqchip it comes by
/// `kvm_make_scan_ioapic_request` as well.
#[kprobe]
fn routes_replaced(ctx: ProbeContext) -> u32 {
    routes_changed(&ctx)
}

#[inline(always)]
fn routes_changed(ctx: &ProbeContext) -> u32 {
    if let Some(address) = ctx.arg::<u64>(0) {
        let kvm = Kvm::at(address);
        let mut entry = None;
        if emit::admits(kvm, &mut entry) {
            emit::event(kind::ROUTES_CHANGED, kvm, entry, |_| ());
        }
    }
    0
}

/// Nanoseconds since this task entered the recalculation that now ends.
#[inline(always)]
fn time_spent() -> Option<u64> {
    let task = bpf_get_current_pid_tgid();
    // SAFETY: the value is copied at once; only this task writes it.
    let entered = unsafe { ENTERED_AT.get(task).copied() }?;
    // Gone already is as good as taken out.
    let _ = ENTERED_AT.remove(task);
    Some(emit::now().saturating_sub(entered))
}

/// Adds who ran and what its registers hold.
#[inline(always)]
pub(crate) fn describe(record: &mut Event, vcpu: Vcpu) {
    if let Some(id) = vcpu.id() {
        record.vcpu_id = id;
        record.valid |= valid::VCPU;
    }
    if let Some(registers) = vcpu.registers() {
        record.regs = registers;
        record.valid |= valid::REGS;
    }
}

/// `void kvm_recalculate_apic_map(struct kvm *kvm)`, arch/x86/kvm/lapic.c, 5.7 to 7.3; on 5.10 its body is
/// the clone `.part.0` with the same argument. Hot: it runs after every emulated APIC write and returns at
/// once while the map is clean.
#[kprobe]
fn recalculating(ctx: ProbeContext) -> u32 {
    if let Some(address) = ctx.arg::<u64>(0)
        && Kvm::at(address).apic_map_dirty() != Some(0)
    {
        // Without room the time stays unknown, which is all that rests on it.
        let _ = ENTERED_AT.insert(bpf_get_current_pid_tgid(), emit::now(), 0);
    }
    0
}
