//! The window: a block of memory shared with the kernel side, into which a program run on demand copies
//! one VM, one stretch of a VM's interrupt routes, or one stretch of KVM's list of VMs.
//!
//! A read never touches a guest's path and never competes with the ring buffer: the caller owns the
//! window, asks for one copy, and has it when the call returns.

use crate::{assert_size, record, regs::Registers};

/// vCPUs that one copy holds; larger VMs take several.
pub const VCPUS: usize = 64;
/// Entries of the logical map: flat uses 8, cluster 16 x 4.
pub const SLOTS: usize = 64;
/// Entries of the physical map that one copy holds.
pub const PHYSICAL: usize = 256;
/// VMs that one stretch of the list holds.
pub const VMS: usize = 64;
/// GSIs whose routes one copy holds: an ordinary PC's, with room to spare. The verifier walks through every one of them each
/// time the kernel side is loaded, so that room for the largest table would cost every start.
pub const ROUTES: usize = 64;
/// Pins of the in-kernel IOAPIC (`KVM_IOAPIC_NUM_PINS`).
pub const PINS: usize = 24;
/// Bytes kept of a VM's name in debugfs ("PID-FD").
pub const NAME: usize = 32;

/// The first 16 bytes of the canary's LAPIC page. Offset 0 is reserved: no guest can write there, and
/// `KVM_SET_LAPIC` copies it as given, so every copy of ldrscope knows every copy's canary.
pub const CANARY_SIGNATURE: [u8; 16] = *b"ldrscope-canary\0";

record! {
/// What tells whether two reads saw the same state of one VM.
pub struct Stamp {
    /// Birth number of the VM; 0 where it is not known (any more).
    pub generation: u64,
    /// `kvm->arch.apic_map`.
    pub apic_map: u64,
    /// Completed recalculations since the VM is known.
    pub recalculations: u64,
    /// `kvm->arch.apic_map_dirty`: 0 clean, 1 update in progress, 2 dirty.
    pub dirty: u32,
    /// `kvm->online_vcpus`.
    pub online_vcpus: u32,
    /// 1 where the VM is on KVM's list, 0 where it is not (yet, or any more).
    pub linked: u32,
    /// vCPUs that the last recalculation walked, in order of creation; [`UNKNOWN`] if none was seen.
    pub mapped_vcpus: u32,
}
}
assert_size!(Stamp, 40);

/// A count that nobody saw.
pub const UNKNOWN: u32 = u32::MAX;

record! {
/// One vCPU, as read: nothing is judged on the kernel side, where every branch costs the verifier a path.
pub struct Vcpu {
    /// Address of its `struct kvm_vcpu`.
    pub vcpu: u64,
    /// Address of its `struct kvm_lapic`: the value that the maps hold.
    pub lapic: u64,
    /// `lapic->vcpu`, which must lead back to `vcpu`.
    pub lapic_vcpu: u64,
    /// Its registers.
    pub regs: Registers,
    /// ICR, 64 bits from offset 0x300 on.
    pub icr: u64,
    /// ICR's high half, offset 0x310.
    pub icr2: u32,
    /// `vcpu->vcpu_id`.
    pub vcpu_id: u32,
    /// `vcpu->vcpu_idx`.
    pub vcpu_idx: u32,
    /// `lapic->apicv_active`: hardware may write the page by itself.
    pub apicv_active: u32,
    /// The first 16 bytes of the register page, where a canary carries [`CANARY_SIGNATURE`].
    pub signature: [u8; 16],
    /// 0 where every read succeeded; otherwise error codes, OR-ed together.
    pub failed: u32,
    /// Reserved, 0.
    pub reserved: u32,
}
}
assert_size!(Vcpu, 24 + 32 + 8 + 16 + 16 + 8);

#[cfg(feature = "user")]
impl Vcpu {
    /// Every field was read, and the vCPU's LAPIC leads back to it.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.failed == 0 && self.lapic_vcpu == self.vcpu
    }

    /// The vCPU of a canary.
    #[must_use]
    pub fn is_canary(&self) -> bool {
        self.signature == CANARY_SIGNATURE
    }
}

record! {
/// One VM, or a part of it.
pub struct VmCopy {
    /// [`crate::ABI_VERSION`].
    pub abi: u16,
    /// 1 where the copy was made; 0 where the VM is not known.
    pub made: u16,
    /// `kvm->arch.irqchip_mode`: 0 none, 1 kernel, 2 split.
    pub irqchip_mode: u32,
    /// Read before everything else.
    pub before: Stamp,
    /// Read after everything else.
    pub after: Stamp,
    /// `kvm->arch.apicv_inhibit_reasons`.
    pub apicv_inhibits: u64,
    /// `kvm->userspace_pid`: the thread that created the VM.
    pub creator_tid: u32,
    /// Thread group that owns the VM's memory now; 0 if not known.
    pub owner_tgid: u32,
    /// Name of the VM's directory in debugfs, NUL-padded; empty if not known.
    pub name: [u8; NAME],
    /// `kvm->arch.x2apic_format`.
    pub x2apic_format: u32,
    /// `kvm->arch.x2apic_broadcast_quirk_disabled`.
    pub broadcast_quirk_disabled: u32,
    /// Mode of the map, raw.
    pub map_mode: u32,
    /// `kvm_apic_map.max_apic_id`.
    pub max_apic_id: u32,
    /// Index of the first vCPU in `vcpus`.
    pub first_vcpu: u32,
    /// Index of the first entry in `physical`.
    pub first_physical: u32,
    /// 1 where `pins` holds the in-kernel IOAPIC's redirection table.
    pub has_pins: u32,
    /// 0 where everything that must be readable was read; otherwise error codes, OR-ed together.
    pub failed: u32,
    /// Events of this VM that were left out since it is known, since many before them had not been answered by a copy yet.
    pub skipped: u64,
    /// The redirection table (`union kvm_ioapic_redirect_entry`).
    pub pins: [u64; PINS],
    /// The logical map: pointers to LAPICs.
    pub slots: [u64; SLOTS],
    /// A stretch of the physical map: pointers to LAPICs.
    pub physical: [u64; PHYSICAL],
    /// A stretch of the vCPUs, in order of creation.
    pub vcpus: [Vcpu; VCPUS],
}
}
assert_size!(
    VmCopy,
    8 + 80 + 8 + 8 + 32 + 32 + 8 + 8 * 24 + 8 * 64 + 8 * 256 + 64 * 104
);

record! {
/// What one GSI leads to. A GSI of the interrupt controllers may lead to several pins, of which this is one; an MSI
/// is always the only route of its GSI (`setup_routing_entry`, virt/kvm/irqchip.c).
pub struct Route {
    /// Address of the list node in its `struct kvm_kernel_irq_routing_entry`. 0 where the GSI leads nowhere: then the
    /// rest means nothing.
    pub node: u64,
    /// The entry's own GSI.
    pub gsi: u32,
    /// `KVM_IRQ_ROUTING_*`: 1 a pin, 2 an MSI, others.
    pub kind: u32,
    /// MSI: lower half of the message address.
    pub address_lo: u32,
    /// MSI: upper half of the message address.
    pub address_hi: u32,
    /// MSI: message data.
    pub data: u32,
    /// 0 where every read succeeded; otherwise error codes, OR-ed together.
    pub failed: u32,
}
}
assert_size!(Route, 8 + 6 * 4);

record! {
/// A stretch of a VM's routes (`KVM_SET_GSI_ROUTING`).
pub struct RouteCopy {
    /// [`crate::ABI_VERSION`].
    pub abi: u16,
    /// 1 where the copy was made of one table, by a VM that was still on KVM's list afterwards.
    pub made: u16,
    /// GSIs of the whole table; 0 where there is none, or the kernel's types do not tell where.
    pub gsis: u32,
    /// GSI of the first route in `routes`.
    pub first: u32,
    /// 0 where the table could be read; otherwise an error code.
    pub failed: u32,
    /// Birth number of the VM; 0 where it is not known (any more).
    pub generation: u64,
    /// `kvm->irq_routing`.
    pub table: u64,
    /// By GSI.
    pub routes: [Route; ROUTES],
}
}
assert_size!(RouteCopy, 16 + 16 + 32 * 64);

record! {
/// A stretch of KVM's list of VMs.
pub struct ListCopy {
    /// [`crate::ABI_VERSION`].
    pub abi: u16,
    /// 1 where the copy was made.
    pub made: u16,
    /// VMs in `vms`.
    pub count: u32,
    /// Where to go on; 0 at the end of the list.
    pub next: u64,
    /// 1 where the list changed underfoot and must be walked again from its head.
    pub torn: u32,
    /// Reserved, 0.
    pub reserved: u32,
    /// Addresses of `struct kvm`.
    pub vms: [u64; VMS],
}
}
assert_size!(ListCopy, 24 + 8 * 64);

record! {
/// The whole window.
pub struct Window {
    /// Filled by the program that copies a VM.
    pub vm: VmCopy,
    /// Filled by the program that copies routes.
    pub routes: RouteCopy,
    /// Filled by the program that walks the list.
    pub list: ListCopy,
}
}
