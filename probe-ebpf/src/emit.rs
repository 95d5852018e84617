//! Events into the ring buffer: reserve, fill, submit, and count what found no room.

use core::mem::offset_of;

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid,
    generated::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns},
};
use aya_log_ebpf::debug;
use probe_common::{
    ABI_VERSION,
    counts::Counts,
    event::{Event, valid},
    regs::Registers,
};

use crate::{
    kvm::Kvm,
    maps::{BIRTHS, COUNTS, EVENTS, VMS, VmEntry},
    task::Task,
    way::Way,
};

/// A record that is being filled. What is not set holds whatever the ring held before.
pub(crate) struct Draft {
    record: *mut Event,
    valid: u32,
}

/// Sets fields of the record, which is the program's own until it is submitted.
macro_rules! set {
    ($draft:ident, $($field:ident).+ = $value:expr) => {{
        let value = $value;
        // SAFETY: the verifier proved that the whole record was reserved.
        unsafe { (&raw mut (*$draft.record).$($field).+).write(value) }
    }};
}

impl Draft {
    /// A pointer as a mere number, which the verifier lets be reckoned with: by way of memory, whose contents it does not
    /// follow. The place is that of [`Self::old`], to be set later.
    #[inline(always)]
    pub(crate) fn number(&mut self, pointer: u64) -> u64 {
        // SAFETY: the verifier proved that the whole record was reserved.
        let place = unsafe { &raw mut (*self.record).old };
        // SAFETY: as above. Volatile, or the number would never leave its register.
        unsafe { place.write_volatile(pointer) };
        // SAFETY: as above.
        unsafe { place.read_volatile() }
    }

    /// The vCPU that it is about.
    #[inline(always)]
    pub(crate) fn vcpu(&mut self, id: u32) {
        set!(self, vcpu_id = id);
        self.valid |= valid::VCPU;
    }

    /// The route or register.
    #[inline(always)]
    pub(crate) fn what(&mut self, what: u32) {
        set!(self, what = what);
    }

    /// The vCPU's registers.
    #[inline(always)]
    pub(crate) fn registers(&mut self, registers: Registers) {
        set!(self, regs = registers);
        self.valid |= valid::REGS;
    }

    /// The value before.
    #[inline(always)]
    pub(crate) fn old(&mut self, old: u64) {
        set!(self, old = old);
        self.valid |= valid::OLD;
    }

    /// The value as given.
    #[inline(always)]
    pub(crate) fn given(&mut self, new: u64) {
        set!(self, new = new);
    }

    /// The guest's instruction pointer, or the time that was spent.
    #[inline(always)]
    pub(crate) fn extra(&mut self, extra: u64) {
        set!(self, extra = extra);
        self.valid |= valid::EXTRA;
    }
}

/// Sends one event about `kvm`; `fill` adds what the hook knows to a record that is otherwise complete.
#[inline(always)]
pub(crate) fn event<W: Way>(kind: u16, kvm: Kvm<W>, entry: Option<VmEntry>, fill: impl FnOnce(&mut Draft)) {
    let Some(mut slot) = EVENTS.reserve::<Event>(0) else {
        count(Count::Dropped);
        return;
    };
    let mut draft = Draft {
        record: slot.as_mut_ptr(),
        valid: 0,
    };
    let pid_tgid = bpf_get_current_pid_tgid();
    set!(draft, abi = ABI_VERSION);
    set!(draft, kind = kind);
    set!(draft, at = now());
    set!(draft, kvm = kvm.address());
    set!(
        draft,
        generation = entry.as_ref().map_or(0, |entry| entry.generation)
    );
    set!(
        draft,
        recalculations = entry.as_ref().map_or(0, |entry| entry.recalculations)
    );
    set!(draft, tid = pid_tgid as u32);
    set!(draft, tgid = (pid_tgid >> 32) as u32);
    // SAFETY: the verifier proved that the whole record was reserved.
    let comm = unsafe { &raw mut (*draft.record).comm };
    // SAFETY: as above; ring records lie at multiples of eight.
    unsafe { Task::current().copy_comm(comm) };
    fill(&mut draft);
    set!(draft, valid = draft.valid);
    slot.submit(0);
}

/// Events of one VM that may wait for a copy of it. More would only take the ring from other VMs: the copy shows what became
/// of all of them. A ring of 1 MiB holds those of fifteen VMs.
const UNANSWERED: u32 = 512;

/// Whether an event of `kvm` is to be sent, and what is known of the VM into `entry`. One that is left out is counted, by VM
/// as well, so that userspace knows what it was not told.
///
/// By reference, since an Option that a function gives back goes through the stack, of which the verifier lets nothing be
/// read before 6.3 that was not written on every path.
#[inline(always)]
pub(crate) fn admits<W: Way>(kvm: Kvm<W>, entry: &mut Option<VmEntry>) -> bool {
    let Some(known) = VMS.get_ptr_mut(kvm.address()) else {
        return true;
    };
    if !answers(known) {
        return false;
    }
    // SAFETY: the verifier proved that the entry exists.
    *entry = Some(unsafe { *known });
    true
}

/// The same of a VM whose entry is at hand. Two CPUs may count as one here: the bound is no exact one.
#[inline(always)]
pub(crate) fn answers(entry: *mut VmEntry) -> bool {
    // SAFETY: the caller's entry exists; every field is a plain integer, read and written whole.
    let unanswered = unsafe { (*entry).unanswered };
    if unanswered < UNANSWERED {
        // SAFETY: as above.
        unsafe { (*entry).unanswered = unanswered + 1 };
        return true;
    }
    // SAFETY: as above.
    unsafe { (*entry).skipped += 1 };
    count(Count::Skipped);
    false
}

/// `CLOCK_BOOTTIME` in nanoseconds.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: takes no argument and always succeeds.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// What is counted.
#[derive(Clone, Copy)]
pub(crate) enum Count {
    /// An event that found no room in the ring.
    Dropped,
    /// An event that was left out.
    Skipped,
    /// A VM that found no room in the table.
    Untracked,
}

/// Adds one.
#[inline(always)]
pub(crate) fn count(what: Count) {
    let Some(counts) = COUNTS.get_ptr_mut(0) else {
        return;
    };
    let at = match what {
        Count::Dropped => offset_of!(Counts, dropped),
        Count::Skipped => offset_of!(Counts, skipped),
        Count::Untracked => offset_of!(Counts, untracked),
    };
    add_one(counts.wrapping_byte_add(at).cast());
}

/// Adds one to a counter that other CPUs add to. `core` offers no read-modify-write atomics for BPF; the instruction set
/// has one.
#[inline(always)]
pub(crate) fn add_one(cell: *mut u64) {
    // SAFETY: BPF_XADD on a counter whose place the verifier knows; it touches nothing else.
    unsafe { core::arch::asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) cell, in(reg) 1u64) };
}

/// Where a birth number comes from.
#[derive(Clone, Copy)]
pub(crate) enum Birth {
    /// A VM's creation was seen.
    Seen = 0,
    /// A scan found a VM that ran already.
    Adopted = 1,
}

/// A birth number that was never given before: count, CPU and kind of birth side by side. `None` only if
/// the counter cannot be reached.
#[inline(always)]
pub(crate) fn birth_number(ctx: &impl aya_ebpf::EbpfContext, birth: Birth) -> Option<u64> {
    let cell = BIRTHS.get_ptr_mut(birth as u32)?;
    // SAFETY: the verifier proved that the cell exists; it is this CPU's own.
    let count = unsafe { &mut *cell };
    *count += 1;
    let count = *count;
    // SAFETY: takes no argument and always succeeds.
    let cpu = unsafe { bpf_get_smp_processor_id() } as u64;
    debug!(ctx, "birth {} on cpu {}", count, cpu);
    Some((count << 17) | (cpu << 1) | birth as u64)
}
