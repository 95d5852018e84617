//! KVM's recalculation of a VM's map: its end (always) and its beginning (precise hooks only), and the changes of
//! pins and routes that partly come the same way.

use aya_ebpf::{helpers::bpf_get_current_pid_tgid, macros::kprobe, programs::ProbeContext};
use probe_common::event::kind;

use super::hook;
use crate::{
    emit,
    kvm::{Kvm, registers},
    layout::precise,
    maps::{ENTERED, VMS, VmEntry},
    task::Task,
    way::Way,
};

hook!(recalculated, recalculated_fast, completed);

/// `void kvm_make_scan_ioapic_request(struct kvm *kvm)`, arch/x86/kvm/x86.c, 5.10 to 7.3: the last act of
/// every completed recalculation, after the new map is published and the lock released. Guest writes of
/// IOAPIC pins and, with a split irqchip, changes of MSI routes end here too; they leave the map's address alone.
#[inline(always)]
fn completed<W: Way>(arg: impl Fn(usize) -> Option<u64>) -> Option<()> {
    if !W::speaks() {
        return None;
    }
    let kvm = Kvm::<W>::at(arg(0)?);
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
    emit::event(kind, kvm, seen, |draft| {
        if precise()
            && let Some(spent) = time_spent()
        {
            draft.extra(spent);
        }
        if let Some(vcpu) = Task::current().vcpu()
            && let Some(known) = vcpu.known_in(kvm, seen.as_ref(), draft.number(vcpu.address()))
        {
            draft.vcpu(known.id);
            if let Some(apic_base) = vcpu.apic_base()
                && let Some(registers) = registers(known.page, apic_base)
            {
                draft.registers(registers);
            }
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
fn note_map<W: Way>(entry: *mut VmEntry, kvm: Kvm<W>) -> Option<u16> {
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

/// See [`routes_changed`].
#[kprobe]
fn pin_written(ctx: ProbeContext) -> u32 {
    let _ = routes_changed(&ctx);
    0
}

/// See [`routes_changed`].
#[kprobe]
fn routes_replaced(ctx: ProbeContext) -> u32 {
    let _ = routes_changed(&ctx);
    0
}

/// `void kvm_make_scan_ioapic_request_mask(struct kvm *kvm, unsigned long *vcpu_bitmap)`, arch/x86/kvm/x86.c, 5.5 to
/// 7.3: a guest wrote an IOAPIC pin of fixed delivery (`ioapic_write_indirect`).
///
/// `void kvm_arch_irq_routing_update(struct kvm *kvm)`, arch/x86/kvm/irq_comm.c, 5.10 to 6.15, arch/x86/kvm/irq.c, 6.16
/// to 7.3: KVM_SET_GSI_ROUTING published a new table. Only with a split irqchip it comes by
/// `kvm_make_scan_ioapic_request` as well.
///
/// Both are rare, and kprobes alone.
#[inline(always)]
fn routes_changed(ctx: &ProbeContext) -> Option<()> {
    let kvm = <Kvm>::at(ctx.arg::<u64>(0)?);
    let mut entry = None;
    if emit::admits(kvm, &mut entry) {
        emit::event(kind::ROUTES_CHANGED, kvm, entry, |_| ());
    }
    Some(())
}

/// Nanoseconds since this task entered the recalculation that now ends, where nothing came between on this CPU.
#[inline(always)]
fn time_spent() -> Option<u64> {
    let entry = ENTERED.get_ptr_mut(0)?;
    // SAFETY: the verifier proved that the entry exists; it is this CPU's own.
    let entered = unsafe { *entry };
    if entered.task != bpf_get_current_pid_tgid() {
        return None;
    }
    // SAFETY: as above.
    unsafe { (*entry).task = 0 };
    Some(emit::now().saturating_sub(entered.at))
}

hook!(recalculating, recalculating_fast, begun);

/// `void kvm_recalculate_apic_map(struct kvm *kvm)`, arch/x86/kvm/lapic.c, 5.7 to 7.3; on 5.10 its body is
/// the clone `.part.0` with the same argument. Hot: it runs after every emulated APIC write and returns at
/// once while the map is clean.
#[inline(always)]
fn begun<W: Way>(arg: impl Fn(usize) -> Option<u64>) -> Option<()> {
    if Kvm::<W>::at(arg(0)?).apic_map_dirty() == Some(0) || !W::speaks() {
        return None;
    }
    let entry = ENTERED.get_ptr_mut(0)?;
    // SAFETY: the verifier proved that the entry exists; it is this CPU's own.
    unsafe { (*entry).task = bpf_get_current_pid_tgid() };
    // SAFETY: as above.
    unsafe { (*entry).at = emit::now() };
    Some(())
}
