//! Sources that aim at a destination: what makes a broken slot an emergency.
//!
//! They come with each sample of a VM; which of them a finding breaks is left to [`crate::severity`].

use std::fmt;

/// A source known to use a destination, read off the guest's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aim {
    /// What kind of source.
    pub source: AimSource,
    /// IOAPIC pin number, GSI of an MSI route, or the `vcpu_id` whose ICR it is.
    pub index: u32,
    /// The destination field: 8 bits, or 32 bits from an x2APIC ICR.
    pub dest: u32,
    /// Vector 0-255.
    pub vector: u8,
    /// True where the destination is logical.
    pub logical: bool,
    /// True for lowest-priority delivery, where one of the vCPUs named is enough; false for fixed.
    pub lowest_priority: bool,
}

/// The kind of an [`Aim`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AimSource {
    /// An unmasked pin of the in-kernel IOAPIC.
    Ioapic,
    /// A route of `KVM_SET_GSI_ROUTING`.
    MsiRoute,
    /// The last ICR of an enabled vCPU, shorthands left out.
    Icr,
}

impl AimSource {
    /// The word of the JSON contract.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ioapic => "ioapic",
            Self::MsiRoute => "msi-route",
            Self::Icr => "icr",
        }
    }
}

impl fmt::Display for AimSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Aim {
    /// A clause for a summary: who aims, with which vector, where to.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            index, dest, vector, ..
        } = *self;
        match self.source {
            AimSource::Ioapic => write!(f, "IOAPIC pin {index}")?,
            AimSource::MsiRoute => write!(f, "the MSI route of GSI {index}")?,
            AimSource::Icr => write!(f, "the last ICR of vCPU {index}")?,
        }
        let mode = if self.logical { "logical" } else { "physical" };
        write!(
            f,
            ", vector 0x{vector:02x}, aims at {mode} destination 0x{dest:02x}"
        )
    }
}
