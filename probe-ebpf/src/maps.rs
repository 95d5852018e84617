//! Every map of the kernel side.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, PerCpuArray, RingBuf},
};
use probe_common::{
    counts::Counts,
    interrupts::{Bank, Pulse},
    speaking::Speaking,
    window::{UNKNOWN, Window},
};

/// What the kernel side knows of a live VM.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct VmEntry {
    /// Birth number, never 0 and never given twice.
    pub(crate) generation: u64,
    /// Completed recalculations seen.
    pub(crate) recalculations: u64,
    /// The map published last.
    pub(crate) apic_map: u64,
    /// vCPUs that the last recalculation seen walked.
    pub(crate) mapped_vcpus: u32,
    /// Events sent since the last copy.
    pub(crate) unanswered: u32,
    /// Events left out since the VM is known.
    pub(crate) skipped: u64,
    /// vCPUs born since the VM is known.
    pub(crate) vcpus: u32,
    /// Reserved, 0.
    pub(crate) reserved: u32,
}

impl VmEntry {
    /// A VM that is known from now on, and its map published last.
    #[inline(always)]
    pub(crate) const fn new(generation: u64, apic_map: u64) -> Self {
        Self {
            generation,
            recalculations: 0,
            apic_map,
            mapped_vcpus: UNKNOWN,
            unanswered: 0,
            skipped: 0,
            vcpus: 0,
            reserved: 0,
        }
    }
}

/// Events on their way to userspace. The size is the loader's to choose.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// What was not sent. Not counted per CPU: such a map can only be read by bpf(2), and while a look-up is preempted no
/// kprobe's program runs on its CPU (`bpf_disable_instrumentation`, include/linux/bpf.h).
#[map]
pub(crate) static COUNTS: Array<Counts> = Array::with_max_entries(1, MMAPABLE);

/// Live VMs by the address of their `struct kvm`. Preallocated: probes may run anywhere.
#[map]
pub(crate) static VMS: HashMap<u64, VmEntry> = HashMap::with_max_entries(16384, 0);

/// Counters of birth numbers: 0 for births that were seen, 1 for VMs adopted by a scan. Two, so that a
/// probe that interrupts a scan cannot take its number.
#[map]
pub(crate) static BIRTHS: PerCpuArray<u64> = PerCpuArray::with_max_entries(2, 0);

/// A task's entry into a recalculation.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Entry {
    /// Thread id and thread-group id.
    pub(crate) task: u64,
    /// Boot-clock nanoseconds.
    pub(crate) at: u64,
}

/// The last entry into a recalculation on each CPU. Precise hooks only. A task that another one or another CPU takes the
/// place of meanwhile does not find its own again, and how long it took stays unknown.
#[map]
pub(crate) static ENTERED: PerCpuArray<Entry> = PerCpuArray::with_max_entries(1, 0);

/// vCPUs that a CPU remembers.
pub(crate) const MEMO_SLOTS: u32 = 64;

/// One of them: see [`crate::memo`].
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Memo {
    /// Address of its `struct kvm_vcpu`.
    pub(crate) vcpu: u64,
    /// Its VM's birth number.
    pub(crate) generation: u64,
    /// Address of its LAPIC's register page.
    pub(crate) page: u64,
    /// vCPUs that its VM had had by then.
    pub(crate) vcpus: u32,
    /// `vcpu_id`.
    pub(crate) id: u32,
}

/// What each CPU remembers of vCPUs.
#[map]
pub(crate) static MEMOS: PerCpuArray<Memo> = PerCpuArray::with_max_entries(MEMO_SLOTS, 0);

/// Which programs of the hooks that there are twice are to speak.
#[map]
pub(crate) static SPEAKING: Array<Speaking> = Array::with_max_entries(1, MMAPABLE);

/// `BPF_F_MMAPABLE`: userspace reads the window in place.
const MMAPABLE: u32 = 1 << 10;

/// Where the programs that run on demand put their copies.
#[map]
pub(crate) static WINDOW: Array<Window> = Array::with_max_entries(1, MMAPABLE);

/// Interrupts that each CPU counts: two banks side by side for each. The loader makes room for as many CPUs as there may be, where
/// interrupts are to be counted.
#[map]
pub(crate) static BANKS: Array<Bank> = Array::with_max_entries(1, MMAPABLE);

/// Whether and for which window they are counted.
#[map]
pub(crate) static PULSE: Array<Pulse> = Array::with_max_entries(1, MMAPABLE);
