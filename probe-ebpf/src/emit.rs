//! Events into the ring buffer: reserve, fill, submit, and count what found no room.

use aya_ebpf::{
    helpers::{
        bpf_get_current_comm, bpf_get_current_pid_tgid,
        generated::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns},
    },
    maps::PerCpuArray,
};
use aya_log_ebpf::debug;
use probe_common::{ABI_VERSION, event::Event};

use crate::{
    kvm::Kvm,
    maps::{BIRTHS, DROPPED, EVENTS, VmEntry},
};

/// Sends one event about `kvm`; `fill` adds what the hook knows to a record that is otherwise complete.
#[inline(always)]
pub(crate) fn event(kind: u16, kvm: Kvm, entry: Option<VmEntry>, fill: impl FnOnce(&mut Event)) {
    let Some(mut slot) = EVENTS.reserve::<Event>(0) else {
        count(&DROPPED);
        return;
    };
    let record = slot.write(Event::ZERO);
    let pid_tgid = bpf_get_current_pid_tgid();
    record.abi = ABI_VERSION;
    record.kind = kind;
    record.at = now();
    record.kvm = kvm.address();
    if let Some(entry) = entry {
        record.generation = entry.generation;
        record.recalculations = entry.recalculations;
    }
    record.tid = pid_tgid as u32;
    record.tgid = (pid_tgid >> 32) as u32;
    if let Ok(comm) = bpf_get_current_comm() {
        record.comm = comm;
    }
    fill(record);
    slot.submit(0);
}

/// `CLOCK_BOOTTIME` in nanoseconds.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: takes no argument and always succeeds.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// Adds one to this CPU's counter.
#[inline(always)]
pub(crate) fn count(counter: &PerCpuArray<u64>) {
    if let Some(cell) = counter.get_ptr_mut(0) {
        // SAFETY: the verifier proved that the cell exists; it is this CPU's own.
        unsafe { *cell += 1 };
    }
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
