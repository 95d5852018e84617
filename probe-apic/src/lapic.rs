//! One vCPU's local APIC: the registers that decide its place in the maps, and what they say together.
//!
//! The reading of each register by itself is in [`crate::reg`]; what several vCPUs amount to is left to
//! [`mod@crate::rebuild`], [`crate::delivery`] and [`crate::rules`].

use std::fmt;

use crate::{
    cause::Register,
    id::{ApicId, VcpuId},
    logical_id::{LogicalId, Model, NamedSlots},
    reg::{ApicBase, Dfr, Ldr, Svr},
};

/// The map-relevant state of one local APIC, raw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lapic {
    /// APIC ID register, page offset 0x20, raw: the ID is in bits 31:24 in xAPIC mode, all 32 bits in x2APIC.
    pub id: u32,
    /// Logical Destination Register, 0xD0.
    pub ldr: Ldr,
    /// Destination Format Register, 0xE0.
    pub dfr: Dfr,
    /// Spurious-Interrupt Vector Register, 0xF0.
    pub svr: Svr,
    /// IA32_APIC_BASE.
    pub apic_base: ApicBase,
    /// `kvm_lapic.sw_enabled`: the value KVM acts on. It can differ from SVR bit 8 for a moment under APICv.
    pub sw_enabled: bool,
}

/// The mode of one local APIC, by IA32_APIC_BASE alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ApicMode {
    /// Globally (hardware-) disabled: bit 11 is clear.
    Disabled,
    /// Memory-mapped, 8-bit IDs.
    Xapic,
    /// By MSRs, 32-bit IDs, LDR derived from the ID.
    X2apic,
}

impl ApicMode {
    /// The word of the JSON contract.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Xapic => "xapic",
            Self::X2apic => "x2apic",
        }
    }
}

impl fmt::Display for ApicMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Lapic {
    /// The state after RESET of a vCPU that is not the boot processor (SDM vol. 3, "Local APIC State After
    /// Power-Up or Reset"; KVM's `kvm_lapic_reset`).
    #[must_use]
    pub const fn power_on(vcpu: VcpuId) -> Self {
        Self {
            id: vcpu.0 << 24,
            ldr: Ldr(0),
            dfr: Dfr::FLAT,
            svr: Svr::POWER_ON,
            apic_base: ApicBase::POWER_ON,
            sw_enabled: false,
        }
    }

    /// Whether IA32_APIC_BASE enables it at all. Only then KVM's walks see it (`kvm_apic_present`).
    #[must_use]
    pub const fn hw_enabled(&self) -> bool {
        self.apic_base.globally_enabled()
    }

    /// Hardware- and software-enabled: it accepts fixed interrupts.
    #[must_use]
    pub const fn enabled(&self) -> bool {
        self.hw_enabled() && self.sw_enabled
    }

    /// The mode by IA32_APIC_BASE.
    #[must_use]
    pub const fn mode(&self) -> ApicMode {
        match (self.hw_enabled(), self.apic_base.x2apic()) {
            (false, _) => ApicMode::Disabled,
            (true, false) => ApicMode::Xapic,
            (true, true) => ApicMode::X2apic,
        }
    }

    /// Enabled and in xAPIC mode: it may claim slots.
    #[must_use]
    pub const fn enabled_xapic(&self) -> bool {
        self.enabled() && !self.apic_base.x2apic()
    }

    /// The physical ID as the ID register holds it: 8 bits, or 32 bits in x2APIC mode.
    #[must_use]
    pub const fn apic_id(&self) -> ApicId {
        match self.mode() {
            ApicMode::X2apic => ApicId(self.id),
            ApicMode::Disabled | ApicMode::Xapic => ApicId(self.xapic_id()),
        }
    }

    /// ID register bits 31:24 (KVM's `kvm_xapic_id`).
    #[must_use]
    pub const fn xapic_id(&self) -> u32 {
        self.id >> 24
    }

    /// LDR bits 31:24; of no meaning in x2APIC mode.
    #[must_use]
    pub const fn xapic_logical_id(&self) -> LogicalId {
        self.ldr.xapic_logical_id()
    }

    /// The slots that its LDR names under its DFR, enabled or not; `None` in x2APIC mode and for a DFR whose
    /// model does not exist.
    #[must_use]
    pub fn names(&self) -> Option<NamedSlots> {
        if self.apic_base.x2apic() {
            return None;
        }
        let model: Model = self.dfr.model()?;
        Some(self.xapic_logical_id().named_under(model))
    }

    /// The slots it claims: those it names while hardware- and software-enabled in xAPIC mode.
    #[must_use]
    pub fn claims(&self) -> Option<NamedSlots> {
        self.names().filter(|_| self.enabled())
    }

    /// One register, raw.
    #[must_use]
    pub const fn register(&self, register: Register) -> u64 {
        match register {
            Register::Id => self.id as u64,
            Register::Ldr => self.ldr.0 as u64,
            Register::Dfr => self.dfr.0 as u64,
            Register::Svr => self.svr.0 as u64,
            Register::ApicBase => self.apic_base.0,
        }
    }

    /// Whether `register` differs from `before` in a way that KVM's recalculation can see: of SVR only the
    /// software enable counts, of IA32_APIC_BASE only bits 11:10.
    #[must_use]
    pub const fn differs_in(&self, before: &Self, register: Register) -> bool {
        match register {
            Register::Id => self.id != before.id,
            Register::Ldr => self.ldr.0 != before.ldr.0,
            Register::Dfr => self.dfr.0 != before.dfr.0,
            Register::Svr => self.sw_enabled != before.sw_enabled,
            Register::ApicBase => self.apic_base.mode_bits() != before.apic_base.mode_bits(),
        }
    }

    /// [`Self::differs_in`] for any register.
    #[must_use]
    pub fn differs_from(&self, before: &Self) -> bool {
        Register::ALL
            .iter()
            .any(|&register| self.differs_in(before, register))
    }
}
