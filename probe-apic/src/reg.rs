//! The APIC's registers as types, each with the readings that the SDM gives it.
//!
//! Odd values are kept: for a diagnostic they are the interesting case. What a combination of registers
//! means is left to [`crate::lapic`].

use std::fmt;

use crate::logical_id::{LogicalId, Model};

/// Logical Destination Register (SDM vol. 3, "Logical Destination Mode and Local APIC ID"): the logical ID is
/// in bits 31:24 in xAPIC mode, all 32 bits in x2APIC mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ldr(pub u32);

impl Ldr {
    /// The LDR of an x2APIC with that ID: cluster in bits 31:16, one bit of 15:0 (SDM vol. 3, "Deriving Logical x2APIC ID
    /// from the Local x2APIC ID").
    #[must_use]
    pub const fn of_x2apic(id: u32) -> Self {
        Self((id >> 4) << 16 | 1 << (id & 15))
    }

    /// Bits 31:24, the logical ID of xAPIC mode.
    #[must_use]
    pub const fn xapic_logical_id(self) -> LogicalId {
        LogicalId((self.0 >> 24) as u8)
    }

    /// Bits 31:16, the cluster of x2APIC mode (SDM vol. 3, "Logical Destination Mode in x2APIC Mode").
    #[must_use]
    pub const fn x2apic_cluster(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// Bits 15:0, the place within the cluster in x2APIC mode.
    #[must_use]
    pub const fn x2apic_bits(self) -> u16 {
        self.0 as u16
    }

    /// Whether an x2APIC with this LDR is named by the logical destination `dest`, broadcast aside.
    #[must_use]
    pub const fn x2apic_matches(self, dest: u32) -> bool {
        self.0 >> 16 == dest >> 16 && self.0 & dest & 0xffff != 0
    }
}

/// Destination Format Register: the model is in bits 31:28, 1111 flat, 0000 cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dfr(pub u32);

impl Dfr {
    /// The value after RESET and INIT, and the only one that KVM takes as flat (`APIC_DFR_FLAT`).
    pub const FLAT: Self = Self(0xffff_ffff);

    /// The only value that KVM's scan takes as cluster (`APIC_DFR_CLUSTER`).
    pub const CLUSTER: Self = Self(0x0fff_ffff);

    /// The model by bits 31:28, as the SDM reads it; `None` for a model that does not exist.
    #[must_use]
    pub const fn model(self) -> Option<Model> {
        match self.0 >> 28 {
            0xf => Some(Model::Flat),
            0x0 => Some(Model::Cluster),
            _ => None,
        }
    }

    /// The model as `kvm_apic_match_logical_addr` reads it: by all 32 bits.
    #[must_use]
    pub const fn model_of_scan(self) -> Option<Model> {
        match self {
            Self::FLAT => Some(Model::Flat),
            Self::CLUSTER => Some(Model::Cluster),
            _ => None,
        }
    }

    /// The model as `kvm_recalculate_apic_map` reads it: whatever is not flat is cluster.
    #[must_use]
    pub const fn model_of_map(self) -> Model {
        match self {
            Self::FLAT => Model::Flat,
            _ => Model::Cluster,
        }
    }
}

/// Spurious-Interrupt Vector Register: bit 8 is the software enable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Svr(pub u32);

impl Svr {
    /// The value after RESET and INIT: vector 0xFF, software-disabled.
    pub const POWER_ON: Self = Self(0xff);

    /// Bit 8, as the register shows it. What KVM acts on is [`crate::lapic::Lapic::sw_enabled`].
    #[must_use]
    pub const fn software_enable(self) -> bool {
        self.0 & (1 << 8) != 0
    }
}

/// IA32_APIC_BASE (MSR 0x1B): bit 11 is the global enable, bit 10 x2APIC mode, bit 8 the boot processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApicBase(pub u64);

impl ApicBase {
    /// The value after RESET but for the boot-processor bit: xAPIC mode at the default address.
    pub const POWER_ON: Self = Self(0xfee0_0800);

    /// Bit 11, the global enable.
    #[must_use]
    pub const fn globally_enabled(self) -> bool {
        self.0 & (1 << 11) != 0
    }

    /// Bit 10, x2APIC mode, whatever bit 11 says (KVM's `apic_x2apic_mode`).
    #[must_use]
    pub const fn x2apic(self) -> bool {
        self.0 & (1 << 10) != 0
    }

    /// Bits 31:12 in their place: where the register page of xAPIC mode is (KVM's `MSR_IA32_APICBASE_BASE`).
    #[must_use]
    pub const fn address(self) -> u64 {
        self.0 & 0xffff_f000
    }

    /// Bits 11:10, which alone decide the mode.
    #[must_use]
    pub const fn mode_bits(self) -> u64 {
        self.0 & (0b11 << 10)
    }
}

impl fmt::Display for Ldr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:08x}", self.0)
    }
}

impl fmt::Display for Dfr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:08x}", self.0)
    }
}

impl fmt::Display for Svr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:08x}", self.0)
    }
}

impl fmt::Display for ApicBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}
