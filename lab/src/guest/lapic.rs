//! The local APIC's registers as a VMM and its guest see them: register names and offsets, the values that
//! tests compose most (logical IDs, SVR, ICR, APIC base), and typed access to a `KVM_GET_LAPIC` page.
//! It judges nothing: what registers mean for delivery is for ldrscope's analysis crate.

use kvm_bindings::kvm_lapic_state;

/// A register of the local APIC, by its name in SDM vol. 3, table "Local APIC Register Address Map".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApicReg {
    /// Local APIC ID, bits 31:24 in xAPIC mode.
    Id,
    /// Task priority.
    Tpr,
    /// End of interrupt.
    Eoi,
    /// Logical destination, bits 31:24 in xAPIC mode.
    Ldr,
    /// Destination format, model in bits 31:28.
    Dfr,
    /// Spurious-interrupt vector with the software enable in bit 8; KVM's `APIC_SPIV`.
    Svr,
    /// Interrupt command, low half.
    IcrLow,
    /// Interrupt command, high half: the destination in bits 31:24.
    IcrHigh,
    /// Initial count of the timer.
    TimerInitialCount,
}

impl ApicReg {
    /// Byte offset in the xAPIC register page.
    pub fn offset(self) -> u16 {
        match self {
            Self::Id => 0x20,
            Self::Tpr => 0x80,
            Self::Eoi => 0xB0,
            Self::Ldr => 0xD0,
            Self::Dfr => 0xE0,
            Self::Svr => 0xF0,
            Self::IcrLow => 0x300,
            Self::IcrHigh => 0x310,
            Self::TimerInitialCount => 0x380,
        }
    }

    /// The register's MSR in x2APIC mode (SDM vol. 3, "x2APIC Register Address Space").
    pub fn msr(self) -> u32 {
        0x800 + u32::from(self.offset() >> 4)
    }
}

/// DFR of the flat model.
pub const DFR_FLAT: u32 = 0xFFFF_FFFF;
/// DFR of the cluster model.
pub const DFR_CLUSTER: u32 = 0x0FFF_FFFF;
/// SVR with the APIC software-enabled and spurious vector 0xFF, as Linux sets it.
pub const SVR_ENABLED: u32 = 0x1FF;
/// SVR with the APIC software-disabled and spurious vector 0xFF: the value after reset.
pub const SVR_DISABLED: u32 = 0x0FF;

/// The model-specific register IA32_APIC_BASE.
pub const MSR_APIC_BASE: u32 = 0x1B;
/// IA32_APIC_BASE bit 8: this is the bootstrap processor.
pub const APIC_BASE_BSP: u64 = 1 << 8;
/// IA32_APIC_BASE bit 10: x2APIC mode.
pub const APIC_BASE_X2APIC: u64 = 1 << 10;
/// IA32_APIC_BASE bit 11: the APIC is hardware-enabled.
pub const APIC_BASE_ENABLED: u64 = 1 << 11;

/// A local APIC's mode, as IA32_APIC_BASE bits 11:10 say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApicMode {
    /// Hardware-disabled.
    Off,
    /// Registers in memory, 8-bit IDs.
    Xapic,
    /// Registers as MSRs, 32-bit IDs.
    X2apic,
}

impl ApicMode {
    /// The mode that `apic_base` sets.
    pub const fn of(apic_base: u64) -> Self {
        match (
            apic_base & APIC_BASE_ENABLED != 0,
            apic_base & APIC_BASE_X2APIC != 0,
        ) {
            (false, _) => Self::Off,
            (true, false) => Self::Xapic,
            (true, true) => Self::X2apic,
        }
    }

    /// An IA32_APIC_BASE in this mode, the page where it is after reset.
    pub const fn apic_base(self) -> u64 {
        let mode = match self {
            Self::Off => 0,
            Self::Xapic => APIC_BASE_ENABLED,
            Self::X2apic => APIC_BASE_ENABLED | APIC_BASE_X2APIC,
        };
        super::layout::LAPIC as u64 | mode
    }
}

/// The LDR that names logical ID `id` in xAPIC mode.
pub const fn ldr(id: u8) -> u32 {
    (id as u32) << 24
}

/// The logical ID of the `index`-th CPU in the cluster model: four to a cluster, one bit each.
pub const fn cluster_id(index: u32) -> u8 {
    (((index / 4) << 4) | (1 << (index % 4))) as u8
}

/// ICR low half of an INIT to the physical destination in ICR high, level asserted, edge-triggered.
pub const ICR_INIT: u32 = 0x0000_4500;

/// A whole register page, as `KVM_GET_LAPIC` gives it and `KVM_SET_LAPIC` takes it.
#[derive(Clone, Copy)]
pub struct LapicPage(pub(super) kvm_lapic_state);

impl std::fmt::Debug for LapicPage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LapicPage")
            .field("id", &self.get(ApicReg::Id))
            .field("ldr", &self.get(ApicReg::Ldr))
            .field("dfr", &self.get(ApicReg::Dfr))
            .field("svr", &self.get(ApicReg::Svr))
            .finish_non_exhaustive()
    }
}

impl LapicPage {
    /// The 32-bit value of `reg`.
    pub fn get(&self, reg: ApicReg) -> u32 {
        self.word(reg.offset())
    }

    /// Sets the 32-bit value of `reg`.
    pub fn set(&mut self, reg: ApicReg, value: u32) -> &mut Self {
        let start = usize::from(reg.offset());
        for (byte, new) in self.0.regs[start..start + 4].iter_mut().zip(value.to_le_bytes()) {
            *byte = new as std::ffi::c_char;
        }
        self
    }

    /// The vectors that are requested: the interrupt request register (offsets 0x200 to 0x270).
    pub fn requests(&self) -> Requests {
        Requests([0, 1, 2, 3, 4, 5, 6, 7].map(|i| self.word(0x200 + i * 0x10)))
    }

    /// Empties the interrupt request register.
    pub fn clear_requests(&mut self) -> &mut Self {
        for start in (0x200..0x280).step_by(0x10) {
            self.0.regs[start..start + 4].fill(0);
        }
        self
    }

    fn word(&self, offset: u16) -> u32 {
        let start = usize::from(offset);
        let bytes = [0, 1, 2, 3].map(|i| self.0.regs[start + i] as u8);
        u32::from_le_bytes(bytes)
    }
}

/// An interrupt request register: a set of vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requests([u32; 8]);

impl Requests {
    /// Whether `vector` is requested.
    pub fn contains(&self, vector: u8) -> bool {
        self.0[usize::from(vector >> 5)] >> (vector & 31) & 1 == 1
    }

    /// Whether no vector is.
    pub fn is_empty(&self) -> bool {
        self.0 == [0; 8]
    }
}

#[cfg(test)]
mod tests {
    use super::{ApicReg, LapicPage, cluster_id};
    use kvm_bindings::kvm_lapic_state;

    #[test]
    fn registers_read_back_and_the_irr_is_decoded() {
        let mut page = LapicPage(kvm_lapic_state { regs: [0; 1024] });
        page.set(ApicReg::Ldr, 0xFF00_0000);
        assert_eq!(page.get(ApicReg::Ldr), 0xFF00_0000);
        page.0.regs[0x212] = 1;
        let requested: Vec<_> = (0..=u8::MAX).filter(|v| page.requests().contains(*v)).collect();
        assert_eq!(requested, [0x30]);
        assert!(page.clear_requests().requests().is_empty());
        assert_eq!(page.get(ApicReg::Ldr), 0xFF00_0000);
    }

    #[test]
    fn names_follow_the_architecture() {
        assert_eq!(ApicReg::Svr.msr(), 0x80F);
        assert_eq!([0, 3, 4, 5].map(cluster_id), [0x01, 0x08, 0x11, 0x12]);
    }
}
