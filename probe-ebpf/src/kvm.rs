//! Typed pointers into KVM's structures. Each getter is one read of kernel memory at an offset that
//! userspace resolved; a read that fails is `None` (or counted), never a zero taken for a value.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_get_smp_processor_id, bpf_probe_read_kernel};
use probe_common::{
    layout::ABSENT,
    regs::{APIC_DFR, APIC_ID, APIC_LDR, APIC_SVR, Registers},
    window::{Stamp, UNKNOWN},
};

use crate::{
    layout::offset,
    maps::{VMS, VmEntry},
};

/// Copies `bytes` bytes of kernel memory; 0 on success. On failure the kernel zeroes the destination.
///
/// # Safety
///
/// `to` must point to `bytes` writable bytes.
#[inline(always)]
pub(crate) unsafe fn copy(to: *mut c_void, bytes: u32, from: u64) -> i64 {
    // SAFETY: the caller vouches for the destination; the helper tolerates any source address.
    unsafe { bpf_probe_read_kernel(to, bytes, from as *const c_void) as i64 }
}

/// Reads one plain value.
#[inline(always)]
pub(crate) fn read<T: Copy>(from: u64) -> Option<T> {
    let mut value = core::mem::MaybeUninit::<T>::uninit();
    // SAFETY: the destination is a local of exactly that size.
    let failed = unsafe { copy(value.as_mut_ptr().cast(), size_of::<T>() as u32, from) };
    if failed != 0 {
        return None;
    }
    // SAFETY: the helper filled all of it, and T is used with integers only.
    Some(unsafe { value.assume_init() })
}

/// Reads into a place of the window; 0 or an error code.
#[inline(always)]
pub(crate) fn fetch<T>(to: &mut T, from: u64) -> u32 {
    // SAFETY: the destination is a whole T.
    unsafe { copy((&raw mut *to).cast(), size_of::<T>() as u32, from) as u32 }
}

/// `struct kvm *`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kvm(u64);

/// `struct kvm_vcpu *`.
#[derive(Clone, Copy)]
pub(crate) struct Vcpu(u64);

/// `struct kvm_lapic *`.
#[derive(Clone, Copy)]
pub(crate) struct Lapic(u64);

impl Kvm {
    #[inline(always)]
    pub(crate) const fn at(address: u64) -> Self {
        Self(address)
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
        read(self.0 + offset!(kvm_apic_map) as u64)
    }

    #[inline(always)]
    pub(crate) fn apic_map_dirty(self) -> Option<u32> {
        read(self.0 + offset!(kvm_apic_map_dirty) as u64)
    }

    #[inline(always)]
    pub(crate) fn online_vcpus(self) -> Option<u32> {
        read(self.0 + offset!(kvm_online_vcpus) as u64)
    }

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

impl Vcpu {
    #[inline(always)]
    pub(crate) const fn at(address: u64) -> Self {
        Self(address)
    }

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
        (vcpu != 0).then_some(Self(vcpu))
    }

    #[inline(always)]
    pub(crate) fn kvm(self) -> Option<Kvm> {
        read(self.0 + offset!(vcpu_kvm) as u64).map(Kvm)
    }

    #[inline(always)]
    pub(crate) fn id(self) -> Option<u32> {
        read(self.0 + offset!(vcpu_id) as u64)
    }

    #[inline(always)]
    pub(crate) fn apic_base(self) -> Option<u64> {
        read(self.0 + offset!(vcpu_apic_base) as u64)
    }

    #[inline(always)]
    pub(crate) fn lapic(self) -> Option<Lapic> {
        read(self.0 + offset!(vcpu_apic) as u64).and_then(|lapic| (lapic != 0).then_some(Lapic(lapic)))
    }

    /// The guest's instruction pointer as of its last exit.
    #[inline(always)]
    pub(crate) fn guest_rip(self) -> Option<u64> {
        let rip = offset!(vcpu_rip);
        if rip == ABSENT {
            return None;
        }
        read(self.0 + rip as u64)
    }

    /// Whether hardware writes `lapic`'s page by itself, so that it may hold a new value before KVM sees it. The flag
    /// moved from the vCPU to its LAPIC in 6.0.
    #[inline(always)]
    pub(crate) fn apicv_active(self, lapic: Lapic) -> bool {
        let (in_lapic, in_vcpu) = (offset!(lapic_apicv_active), offset!(vcpu_apicv_active));
        let flag = if in_lapic != ABSENT {
            lapic.0 + in_lapic as u64
        } else if in_vcpu != ABSENT {
            self.0 + in_vcpu as u64
        } else {
            return false;
        };
        read::<u8>(flag) == Some(1)
    }

    /// The map-relevant registers of its LAPIC.
    #[inline(always)]
    pub(crate) fn registers(self) -> Option<Registers> {
        let lapic = self.lapic()?;
        let page = lapic.registers()?;
        let model = read::<[u32; 9]>(page + APIC_LDR as u64)?;
        Some(Registers {
            apic_base: self.apic_base()?,
            id: read(page + APIC_ID as u64)?,
            ldr: model[0],
            dfr: model[(APIC_DFR - APIC_LDR) as usize / 4],
            svr: model[(APIC_SVR - APIC_LDR) as usize / 4],
            sw_enabled: lapic.sw_enabled()? as u32,
            reserved: 0,
        })
    }
}

impl Lapic {
    #[inline(always)]
    pub(crate) const fn at(address: u64) -> Self {
        Self(address)
    }

    #[inline(always)]
    pub(crate) fn vcpu(self) -> Option<Vcpu> {
        read(self.0 + offset!(lapic_vcpu) as u64).map(Vcpu)
    }

    /// Kernel address of the register page.
    #[inline(always)]
    pub(crate) fn registers(self) -> Option<u64> {
        read(self.0 + offset!(lapic_regs) as u64)
    }

    #[inline(always)]
    pub(crate) fn sw_enabled(self) -> Option<u8> {
        read(self.0 + offset!(lapic_sw_enabled) as u64)
    }
}
