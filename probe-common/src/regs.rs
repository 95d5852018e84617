//! The map-relevant registers of one local APIC, raw, as both sides carry them.

use crate::{assert_size, record};

record! {
/// Registers of one vCPU's local APIC, read from its register page (offsets of the SDM's "Local APIC
/// Register Address Map") and from `struct kvm_vcpu`.
pub struct Registers {
    /// IA32_APIC_BASE as KVM keeps it (`vcpu->arch.apic_base`).
    pub apic_base: u64,
    /// APIC ID register, offset 0x20.
    pub id: u32,
    /// Logical Destination Register, 0xD0.
    pub ldr: u32,
    /// Destination Format Register, 0xE0.
    pub dfr: u32,
    /// Spurious-Interrupt Vector Register, 0xF0 (KVM's `APIC_SPIV`).
    pub svr: u32,
    /// `kvm_lapic.sw_enabled`: 0 or 1.
    pub sw_enabled: u32,
    /// Reserved, 0.
    pub reserved: u32,
}
}
assert_size!(Registers, 32);

impl Registers {
    /// All zero: what an unread block holds.
    pub const ZERO: Self = Self {
        apic_base: 0,
        id: 0,
        ldr: 0,
        dfr: 0,
        svr: 0,
        sw_enabled: 0,
        reserved: 0,
    };
}

/// Offset of the APIC ID register in the register page.
pub const APIC_ID: u32 = 0x20;
/// Offset of the LDR.
pub const APIC_LDR: u32 = 0xD0;
/// Offset of the DFR.
pub const APIC_DFR: u32 = 0xE0;
/// Offset of the SVR.
pub const APIC_SVR: u32 = 0xF0;
/// Offset of the low half of the ICR.
pub const APIC_ICR: u32 = 0x300;
/// Offset of the high half of the ICR.
pub const APIC_ICR2: u32 = 0x310;
