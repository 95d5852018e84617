//! Interrupts on their way to logical destinations, counted where they pass; attached only when asked for. Nothing is sent: userspace reads
//! the counts in place.

use core::ptr;

use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use probe_common::interrupts::{Bank, LIMIT, SLOTS, TRIES, Tallied, what};

use super::hook;
use crate::{
    layout::offset,
    maps::{BANKS, PULSE, VMS},
    way::Way,
};

/// `kvm_lapic_irq.dest_mode` of a logical destination (`APIC_DEST_LOGICAL`).
const LOGICAL: u16 = 0x800;
/// `kvm_lapic_irq.delivery_mode` (`APIC_DM_FIXED`, `APIC_DM_LOWEST`).
const FIXED: u16 = 0;
const LOWEST: u16 = 0x100;
/// Broadcast, in either mode of the sender; whom it reaches no map decides.
const BROADCAST: [u32; 2] = [0xff, u32::MAX];

hook!(interrupt, interrupt_fast, sent);

/// `bool __kvm_irq_delivery_to_apic_fast(struct kvm *kvm, struct kvm_lapic *src, struct kvm_lapic_irq *irq, int *r, struct rtc_status *)`,
/// arch/x86/kvm/lapic.c, 7.3; before, `kvm_irq_delivery_to_apic_fast` with the same first arguments, 5.10 to 6.18. Every interrupt of an IOAPIC
/// pin, an MSI or an ICR passes it, before KVM looks for whom it is for.
#[inline(always)]
fn sent<W: Way>(arg: impl Fn(usize) -> Option<u64>) -> Option<()> {
    let irq = arg(2)?;
    // Most guests send to physical destinations.
    if W::read::<u16>(irq + offset!(irq_dest_mode) as u64)? != LOGICAL || !W::speaks_alone() {
        return None;
    }
    let pulse = PULSE.get_ptr(0)?;
    // SAFETY: the verifier proved that the entry exists; userspace writes its words whole.
    let pulse = unsafe { pulse.read_volatile() };
    let kvm = arg(0)?;
    if pulse.window == 0 || (pulse.only != 0 && pulse.only != kvm) {
        return None;
    }
    if W::read::<u32>(irq + offset!(irq_shorthand) as u64)? != 0 {
        return None;
    }
    let mode = W::read::<u16>(irq + offset!(irq_delivery_mode) as u64)?;
    if mode != FIXED && mode != LOWEST {
        return None;
    }
    let dest = W::read::<u32>(irq + offset!(irq_dest_id) as u64)?;
    if dest == BROADCAST[0] || dest == BROADCAST[1] {
        return None;
    }
    // The end of a level asserts nothing.
    if W::read::<u16>(irq + offset!(irq_trig_mode) as u64)? != 0
        && W::read::<u8>(irq + offset!(irq_level) as u64)? == 0
    {
        return None;
    }
    let window = pulse.window as u32;
    let bank = bank(window)?;
    if !admits(bank, window) {
        return None;
    }
    let entry = VMS.get_ptr(kvm)?;
    let vector = W::read::<u32>(irq + offset!(irq_vector) as u64)? as u8;
    let hint = W::read::<u8>(irq + offset!(irq_redirection_hint) as u64)?;
    let what = what::pack(dest, vector, mode == LOWEST || hint & 1 != 0);
    // SAFETY: the verifier proved that the entry exists; every field is a plain integer, read whole.
    let entry = unsafe { &*entry };
    let (vm, recalculations) = (entry.generation, entry.recalculations);
    tally(
        bank,
        Tallied {
            vm,
            recalculations,
            what,
            window,
            count: 1,
        },
    );
    Some(())
}

/// This CPU's bank for `window`. No two programs count on one CPU at once: neither a kprobe's nor an fentry program is entered while it runs there
/// already.
#[inline(always)]
fn bank(window: u32) -> Option<*mut Bank> {
    // SAFETY: takes no argument and always succeeds.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    BANKS.get_ptr_mut(cpu * 2 + (window & 1))
}

/// Whether one more is to be counted in this window.
#[inline(always)]
fn admits(bank: *mut Bank, window: u32) -> bool {
    // SAFETY: the verifier proved that the bank exists; it is this CPU's own, and its fields are plain integers.
    let bank = unsafe { &mut *bank };
    if bank.window != window {
        bank.window = window;
        bank.counted = 0;
        bank.beyond = 0;
        bank.full = 0;
    }
    if bank.counted as u64 >= LIMIT {
        bank.beyond += 1;
        return false;
    }
    bank.counted += 1;
    true
}

/// Adds one to its kind's slot, or takes a free one for it.
#[inline(always)]
fn tally(bank: *mut Bank, one: Tallied) {
    // SAFETY: the verifier proved that the bank exists.
    let slots = unsafe { &raw mut (*bank).slots }.cast::<Tallied>();
    let hash = hash(&one);
    for attempt in 0..TRIES {
        let slot = slots.wrapping_add((hash + attempt) & (SLOTS - 1));
        // SAFETY: within the bank, by the mask.
        let seen = unsafe { &mut *slot };
        if seen.window != one.window {
            // SAFETY: as above.
            unsafe { ptr::write_volatile(slot, one) };
            return;
        }
        if seen.what == one.what && seen.vm == one.vm && seen.recalculations == one.recalculations {
            seen.count += 1;
            return;
        }
    }
    // SAFETY: the verifier proved that the bank exists.
    unsafe { (*bank).full += 1 };
}

/// By the golden ratio: destinations, vectors and birth numbers are all close together.
#[inline(always)]
const fn hash(one: &Tallied) -> usize {
    let mixed = one.what ^ one.vm.rotate_left(24) ^ one.recalculations.rotate_left(48);
    (mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as usize
}
