//! The record of the ring buffer: one event of one hook.
//!
//! One type serves all hooks, so that a ring is decoded without a table of sizes. What a hook does not know is not named in
//! [`Event::valid`], and its place holds anything: filling it with zeroes would be a good part of a hook's cost.

use crate::{assert_size, record, regs::Registers};

record! {
/// One event. Which fields hold something is said by `kind` and `valid`.
pub struct Event {
    /// [`crate::ABI_VERSION`].
    pub abi: u16,
    /// One of the constants of [`kind`].
    pub kind: u16,
    /// Bits of [`valid`].
    pub valid: u32,
    /// `CLOCK_BOOTTIME` in nanoseconds.
    pub at: u64,
    /// Address of `struct kvm`. Not an identity: kernels reuse it.
    pub kvm: u64,
    /// Birth number of the VM, 0 where the kernel side does not know it (yet).
    pub generation: u64,
    /// Completed recalculations of this VM since it is known, this one included.
    pub recalculations: u64,
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// Thread-group id in the initial pid namespace.
    pub tgid: u32,
    /// Name of the thread, NUL-padded.
    pub comm: [u8; 16],
    /// `vcpu->vcpu_id`. Not `vcpu_idx`, which is 0 for a vCPU that is still being created.
    pub vcpu_id: u32,
    /// Entered routes: one of the constants of [`route`]. Writes: offset of the register.
    pub what: u32,
    /// The vCPU's registers: after a recalculation, before an entered route, before a write.
    pub regs: Registers,
    /// Writes and APIC-base changes: the value before.
    pub old: u64,
    /// Writes and APIC-base changes: the value as given, before KVM masks it.
    pub new: u64,
    /// Writes: guest instruction pointer. Recalculations: nanoseconds that KVM spent.
    pub extra: u64,
}
}
assert_size!(Event, 128);

impl Event {
    /// Nothing known.
    pub const ZERO: Self = Self {
        abi: 0,
        kind: 0,
        valid: 0,
        at: 0,
        kvm: 0,
        generation: 0,
        recalculations: 0,
        tid: 0,
        tgid: 0,
        comm: [0; 16],
        vcpu_id: 0,
        what: 0,
        regs: Registers::ZERO,
        old: 0,
        new: 0,
        extra: 0,
    };
}

/// Kinds of [`Event`].
pub mod kind {
    /// `kvm_arch_init_vm` was entered: a VM is being created.
    pub const VM_BORN: u16 = 1;
    /// `kvm_arch_destroy_vm` was entered: the VM is off KVM's list and ends.
    pub const VM_GONE: u16 = 2;
    /// `kvm_arch_vcpu_postcreate` was entered: the vCPU is visible to KVM's walks.
    pub const VCPU_BORN: u16 = 3;
    /// KVM published a new map (`kvm_make_scan_ioapic_request` with a map pointer not seen before).
    pub const RECALCULATED: u16 = 4;
    /// IOAPIC pins or MSI routes changed (the same function with the map unchanged, its `_mask` variant, or
    /// `kvm_arch_irq_routing_update`).
    pub const ROUTES_CHANGED: u16 = 5;
    /// A route other than a guest's write was entered; see [`super::route`].
    pub const ENTERED: u16 = 6;
    /// Precise hooks: a guest writes ID, LDR, DFR or SVR (`kvm_lapic_reg_write`).
    pub const WROTE: u16 = 7;
}

/// Bits of [`Event::valid`].
pub mod valid {
    /// `vcpu_id`.
    pub const VCPU: u32 = 1;
    /// `regs`.
    pub const REGS: u32 = 2;
    /// `old`.
    pub const OLD: u32 = 4;
    /// `extra`.
    pub const EXTRA: u32 = 8;
}

/// Routes of [`kind::ENTERED`], in [`Event::what`].
pub mod route {
    /// `kvm_apic_set_state`: KVM_SET_LAPIC.
    pub const SET_LAPIC: u32 = 1;
    /// `kvm_lapic_reset` without an INIT.
    pub const RESET: u32 = 2;
    /// `kvm_lapic_reset` for an INIT.
    pub const INIT: u32 = 3;
    /// The APIC-base setter.
    pub const APIC_BASE: u32 = 4;
}
