//! Typed pointers into KVM's structures. Each getter is one read of kernel memory at an offset that
//! userspace resolved; a read that fails is `None` (or counted), never a zero taken for a value.

use core::marker::PhantomData;

use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use probe_common::{
    layout::ABSENT,
    regs::{APIC_DFR, APIC_ID, APIC_LDR, APIC_SVR, Registers},
    window::{Stamp, UNKNOWN},
};

use crate::{
    layout::offset,
    maps::{VMS, VmEntry},
    memo::{self, Known},
    way::{Kprobe, Way, read},
};

/// `struct kvm *`.
#[derive(Clone, Copy)]
pub(crate) struct Kvm<W = Kprobe>(u64, PhantomData<W>);

/// `struct kvm_vcpu *`.
#[derive(Clone, Copy)]
pub(crate) struct Vcpu<W = Kprobe>(u64, PhantomData<W>);

/// `struct kvm_lapic *`.
#[derive(Clone, Copy)]
pub(crate) struct Lapic<W = Kprobe>(u64, PhantomData<W>);

/// `SVR` bit 8: the APIC is software-enabled.
const SVR_ENABLED: u32 = 1 << 8;

impl<W: Way> Kvm<W> {
    #[inline(always)]
    pub(crate) const fn at(address: u64) -> Self {
        Self(address, PhantomData)
    }

    #[inline(always)]
    pub(crate) const fn address(self) -> u64 {
        self.0
    }

    /// What the kernel side knows of this VM.
    #[inline(always)]
    pub(crate) fn entry(self) -> Option<VmEntry> {
        VMS.get_ptr(self.0).map(|entry| {
            // SAFETY: the verifier proved that the entry exists.
            unsafe { *entry }
        })
    }

    #[inline(always)]
    pub(crate) fn apic_map(self) -> Option<u64> {
        W::read(self.0 + offset!(kvm_apic_map) as u64)
    }

    #[inline(always)]
    pub(crate) fn apic_map_dirty(self) -> Option<u32> {
        W::read(self.0 + offset!(kvm_apic_map_dirty) as u64)
    }

    #[inline(always)]
    pub(crate) fn online_vcpus(self) -> Option<u32> {
        W::read(self.0 + offset!(kvm_online_vcpus) as u64)
    }
}

impl Kvm {
    /// Whether the VM is on KVM's list: its neighbour points back at it.
    #[inline(always)]
    pub(crate) fn linked(self) -> bool {
        let node = self.0 + offset!(kvm_vm_list) as u64;
        read::<u64>(node).and_then(|next| read::<u64>(next + 8)) == Some(node)
    }

    /// What tells whether two reads saw the same state.
    #[inline(always)]
    pub(crate) fn stamp(self) -> Stamp {
        let entry = self.entry();
        Stamp {
            generation: entry.map_or(0, |entry| entry.generation),
            apic_map: self.apic_map().unwrap_or(0),
            recalculations: entry.map_or(0, |entry| entry.recalculations),
            dirty: self.apic_map_dirty().unwrap_or(UNKNOWN),
            online_vcpus: self.online_vcpus().unwrap_or(0),
            linked: self.linked() as u32,
            mapped_vcpus: entry.map_or(UNKNOWN, |entry| entry.mapped_vcpus),
        }
    }
}

/// What tells one vCPU of the host from another.
#[derive(Clone, Copy)]
struct VcpuIdentity {
    /// Address of its `struct kvm`.
    kvm: u64,
    /// `vcpu_id`.
    id: u32,
}

/// Bytes of a vCPU within which both lie on every kernel so far: its first members.
const IDENTITY_BYTES: u32 = 40;

impl Vcpu {
    /// The vCPU that runs (or is loaded) on this CPU: per-CPU variable `kvm_running_vcpu` of
    /// virt/kvm/kvm_main.c.
    #[inline(always)]
    pub(crate) fn running() -> Option<Self> {
        let (bases, variable) = (offset!(per_cpu_offset), offset!(running_vcpu));
        if bases == 0 || variable == 0 {
            return None;
        }
        // SAFETY: takes no argument and always succeeds.
        let cpu = unsafe { bpf_get_smp_processor_id() } as u64;
        let base = read::<u64>(bases + cpu * 8)?;
        let vcpu = read::<u64>(base.wrapping_add(variable))?;
        (vcpu != 0).then_some(Self::at(vcpu))
    }

    /// What does not change about it, if it is a vCPU of `kvm`, whose entry this is; `number` as for [`Vcpu::known`].
    #[inline(always)]
    pub(crate) fn known_in<W: Way>(self, kvm: Kvm<W>, entry: Option<&VmEntry>, number: u64) -> Option<Known> {
        self.remembered(entry, number, || {
            let identity = self.identity()?;
            (identity.kvm == kvm.address()).then_some(identity.id)
        })
    }

    /// Both at once where they lie close together: every read costs a helper.
    #[inline(always)]
    fn identity(self) -> Option<VcpuIdentity> {
        let (kvm, id) = (offset!(vcpu_kvm), offset!(vcpu_id));
        if id < kvm || id - kvm > IDENTITY_BYTES - 4 {
            return Some(VcpuIdentity {
                kvm: self.kvm()?.address(),
                id: self.id()?,
            });
        }
        let block = read::<[u64; IDENTITY_BYTES as usize / 8]>(self.0 + kvm as u64)?;
        let start: *const u8 = (&raw const block).cast();
        let place: *const u32 = start.wrapping_add((id - kvm) as usize).cast();
        // SAFETY: within the block: its last four bytes begin at the most that was allowed above.
        let id = unsafe { place.read_unaligned() };
        Some(VcpuIdentity { kvm: block[0], id })
    }
}

impl<W: Way> Vcpu<W> {
    /// What does not change about it, whose VM's entry this is; `number` is its address as a mere number
    /// ([`crate::emit::Draft::number`]).
    #[inline(always)]
    pub(crate) fn known(self, entry: Option<&VmEntry>, number: u64) -> Option<Known> {
        self.remembered(entry, number, || self.id())
    }

    /// What does not change about it: from memory, or read and remembered, its `vcpu_id` by `id`.
    #[inline(always)]
    fn remembered(
        self,
        entry: Option<&VmEntry>,
        number: u64,
        id: impl FnOnce() -> Option<u32>,
    ) -> Option<Known> {
        if let Some(entry) = entry
            && let Some(known) = memo::recall(number, entry)
        {
            return Some(known);
        }
        let known = Known {
            id: id()?,
            page: self.lapic()?.registers()?,
        };
        if let Some(entry) = entry {
            memo::note(number, entry, known);
        }
        Some(known)
    }

    #[inline(always)]
    pub(crate) const fn at(address: u64) -> Self {
        Self(address, PhantomData)
    }

    #[inline(always)]
    pub(crate) const fn address(self) -> u64 {
        self.0
    }

    #[inline(always)]
    pub(crate) fn kvm(self) -> Option<Kvm<W>> {
        W::read(self.0 + offset!(vcpu_kvm) as u64).map(Kvm::at)
    }

    #[inline(always)]
    pub(crate) fn id(self) -> Option<u32> {
        W::read(self.0 + offset!(vcpu_id) as u64)
    }

    #[inline(always)]
    pub(crate) fn apic_base(self) -> Option<u64> {
        W::read(self.0 + offset!(vcpu_apic_base) as u64)
    }

    /// No pointer to follow, whatever the way in: the kernel's own types, where they have this structure, leave the LAPIC to
    /// the module's.
    #[inline(always)]
    pub(crate) fn lapic(self) -> Option<Lapic> {
        W::read(self.0 + offset!(vcpu_apic) as u64).and_then(|lapic| (lapic != 0).then_some(Lapic::at(lapic)))
    }

    /// The guest's instruction pointer as of its last exit.
    #[inline(always)]
    pub(crate) fn guest_rip(self) -> Option<u64> {
        let rip = offset!(vcpu_rip);
        if rip == ABSENT {
            return None;
        }
        W::read(self.0 + rip as u64)
    }

    /// Whether hardware writes `lapic`'s page by itself, so that it may hold a new value before KVM sees it. The flag
    /// moved from the vCPU to its LAPIC in 6.0.
    #[inline(always)]
    pub(crate) fn apicv_active(self, lapic: Lapic<W>) -> bool {
        let (in_lapic, in_vcpu) = (offset!(lapic_apicv_active), offset!(vcpu_apicv_active));
        let flag = if in_lapic != ABSENT {
            lapic.0 + in_lapic as u64
        } else if in_vcpu != ABSENT {
            self.0 + in_vcpu as u64
        } else {
            return false;
        };
        W::read::<u8>(flag) == Some(1)
    }
}

/// The map-relevant registers of a register page, beside the IA32_APIC_BASE that goes with them.
///
/// `sw_enabled` follows from SVR, as it does in KVM wherever no write is under way (arch/x86/kvm/lapic.c,
/// apic_set_spiv).
#[inline(always)]
pub(crate) fn registers(page: u64, apic_base: u64) -> Option<Registers> {
    let model = read::<[u32; 9]>(page + APIC_LDR as u64)?;
    let svr = model[(APIC_SVR - APIC_LDR) as usize / 4];
    Some(Registers {
        apic_base,
        id: read(page + APIC_ID as u64)?,
        ldr: model[0],
        dfr: model[(APIC_DFR - APIC_LDR) as usize / 4],
        svr,
        sw_enabled: (svr & SVR_ENABLED != 0) as u32,
        reserved: 0,
    })
}

impl<W: Way> Lapic<W> {
    #[inline(always)]
    pub(crate) const fn at(address: u64) -> Self {
        Self(address, PhantomData)
    }

    #[inline(always)]
    pub(crate) fn vcpu(self) -> Option<Vcpu<W>> {
        W::read(self.0 + offset!(lapic_vcpu) as u64).map(Vcpu::at)
    }

    /// Kernel address of the register page.
    #[inline(always)]
    pub(crate) fn registers(self) -> Option<u64> {
        W::read(self.0 + offset!(lapic_regs) as u64)
    }
}
