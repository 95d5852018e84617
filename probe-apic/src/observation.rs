//! What was observed: the only input of the analysis. Live events, the scan of VMs that already ran and
//! (later) a recording all become these values before anything is judged.

use crate::{
    aim::Aim,
    apicv::Inhibits,
    cause::{Register, Route, Task},
    id::{BootTime, VcpuId, VcpuIdx, VmId},
    lapic::Lapic,
    map::PublishedMap,
};

/// One observed fact about one VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// A VM exists. Always the first observation of a VM.
    VmSeen(VmSeen),
    /// KVM destroyed the VM.
    VmGone(VmGone),
    /// A route by which map-relevant registers change was taken. History and attribution only: the state
    /// itself always comes from a [`VmSample`].
    Touched(Touched),
    /// The VM as read from the kernel, off the guest's path.
    Sample(VmSample),
    /// Something about this VM was lost or could not be read; its state is not to be trusted until the
    /// next sample.
    Lost(Lost),
    /// Touches of this VM were left out, up to its next sample: that shows the state, but who brought it about is
    /// not known for certain.
    Skipped(VmId),
    /// Interrupts were sent.
    Sent(Sent),
}

/// Interrupts of one kind that KVM was given for delivery, while one map was in use. Taken in after all else that happened by then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The VM.
    pub vm: VmId,
    /// When the first of them was sent, at the earliest.
    pub from: BootTime,
    /// When the last of them was, at the latest.
    pub until: BootTime,
    /// Recalculations of the VM seen by then.
    pub recalculations: u64,
    /// The logical destination, as KVM took it from the message; never broadcast.
    pub dest: u32,
    /// The vector.
    pub vector: u8,
    /// Whether one of those named was to get each: lowest priority, or an MSI with the redirection hint.
    pub lowest_priority: bool,
    /// How many.
    pub count: u64,
}

/// A VM exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmSeen {
    /// The VM.
    pub vm: VmId,
    /// When it was born, or when the scan found it.
    pub at: BootTime,
    /// Whether ldrscope saw it being created, or found it running.
    pub origin: Origin,
}

/// How ldrscope came to know a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Its creation was observed: there is no history before it.
    Birth,
    /// It ran before ldrscope did: what its registers went through before is unknown.
    Scan,
}

/// KVM destroyed a VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmGone {
    /// The VM.
    pub vm: VmId,
    /// When.
    pub at: BootTime,
}

/// Records about a VM were lost, or its memory could not be read consistently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The VM.
    pub vm: VmId,
    /// When the loss was noticed.
    pub at: BootTime,
}

/// One map-relevant event on the vCPU (or task) that ran.
///
/// A recalculation run by one vCPU may carry the change of another, so `lapic` (the registers of the vCPU
/// that *ran*, at that moment) explains a change only where the difference is on that very vCPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touched {
    /// The VM.
    pub vm: VmId,
    /// When, by the kernel's clock.
    pub at: BootTime,
    /// Recalculations of the VM seen by then, one that this itself is included: by it a touch is older or newer
    /// than a sample, whatever the clocks of two CPUs say.
    pub recalculations: u64,
    /// What happened.
    pub what: Touch,
    /// The vCPU it happened to or that ran, where known. Not by index: a vCPU that is still being created has
    /// none.
    pub vcpu: Option<VcpuId>,
    /// Its registers at that moment, where read.
    pub lapic: Option<Lapic>,
    /// The host task that ran.
    pub task: Task,
}

/// What happened in a [`Touched`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// KVM completed a recalculation of the map; `lapic` holds the registers *after* it.
    Recalculated,
    /// A vCPU became visible to KVM's walks.
    VcpuBorn,
    /// A route other than a guest's register write was entered; `lapic` holds the registers *before* it.
    Entered(Route),
    /// Precise hooks only: a guest wrote one register. `old` is `None` where the hardware had already
    /// replaced it (APICv/AVIC); `new` is as written, before KVM masks it.
    Wrote {
        /// The register.
        register: Register,
        /// Its value before.
        old: Option<u64>,
        /// The value written.
        new: u64,
        /// Guest instruction pointer, where KVM held it.
        guest_rip: Option<u64>,
    },
}

/// A VM as read from the kernel in one go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmSample {
    /// The VM.
    pub vm: VmId,
    /// A moment just before the read began: what happened later may be in it or not.
    pub at: BootTime,
    /// The kernel's timestamp of the event that caused the read; equals `at` for scans and refreshes.
    pub trigger: BootTime,
    /// All vCPUs, in ascending [`VcpuIdx`].
    pub vcpus: Vec<VcpuSample>,
    /// KVM's published map; `None` where its pointer is NULL.
    pub published: Option<PublishedMap>,
    /// How many vCPUs, in order of creation, KVM's last recalculation walked. A vCPU created since is outside
    /// the published map until the next one, and the rebuild must leave it out to be comparable. `None` where
    /// no recalculation was seen (a VM older than ldrscope): then infer it from the published map, as the
    /// number of vCPUs with which published and rebuilt map agree, else all of them.
    pub mapped_vcpus: Option<u32>,
    /// Recalculations of this VM seen so far: two samples with the same count show the same published map.
    pub recalculations: u64,
    /// Whether registers and published map belong together: the map was clean and unchanged before and
    /// after the read. Only a consistent sample may say that published and rebuilt map diverge.
    pub consistent: bool,
    /// Whether this VM's LAPICs live in KVM; without them there is nothing to observe.
    pub irqchip: Irqchip,
    /// `kvm->arch.x2apic_format`: userspace uses 32-bit APIC IDs (`KVM_CAP_X2APIC_API`).
    pub x2apic_format: bool,
    /// `kvm->arch.x2apic_broadcast_quirk_disabled`.
    pub broadcast_quirk_disabled: bool,
    /// Why KVM does without APICv or AVIC for this VM; none where it does not, or where the kernel keeps no reasons.
    pub apicv_inhibits: Inhibits,
    /// Sources that use a destination, logical or physical, as read.
    pub aims: Vec<Aim>,
}

/// One vCPU of a [`VmSample`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VcpuSample {
    /// Order of creation.
    pub idx: VcpuIdx,
    /// The VMM's number for it.
    pub id: VcpuId,
    /// Its local APIC.
    pub lapic: Lapic,
}

/// `kvm->arch.irqchip_mode` (`enum kvm_irqchip_mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Irqchip {
    /// No in-kernel LAPIC: the VMM emulates it, ldrscope cannot observe it.
    Userspace,
    /// LAPIC, IOAPIC and PIC in the kernel.
    Kernel,
    /// LAPIC in the kernel, IOAPIC in the VMM.
    Split,
}
