//! Who gets an interrupt: by the architecture, and by KVM through its map or its scan.
//!
//! Modelled are edge-triggered interrupts of non-CPU sources (IOAPIC pins, MSIs), fixed and lowest priority, with
//! logical and physical destinations. AVIC's own logical table and MSIs already posted to a vCPU are not, nor are the
//! redirection hint of an MSI, shorthands and what one vCPU sends another. What a broken destination amounts to is
//! left to [`crate::severity`].

use crate::{map::LogicalAndPhysicalMap, map_rules::MapRules, observation::VcpuSample, vcpu_set::VcpuSet};

mod architecture;
pub(crate) mod destination_set;
mod kvm;
mod picks;
mod reading;
mod table;
#[cfg(test)]
mod tests;
mod verdict;

pub use picks::Picks;
pub use table::Deliveries;
pub use verdict::Verdict;

/// How a destination names APICs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DestinationMode {
    /// By the bits of their logical IDs.
    Logical,
    /// By their APIC ID.
    Physical,
}

/// Where an interrupt is sent.
///
/// A pin of the IOAPIC has 8 bits for it, and so has an MSI, unless userspace enabled 32-bit APIC IDs
/// ([`Fabric::x2apic_format`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    /// How it is read.
    pub mode: DestinationMode,
    /// The destination field, 32 bits.
    pub id: u32,
}

impl Destination {
    /// The `id` of broadcast to xAPICs, in either mode (SDM vol. 3, "Broadcast/Self Delivery Mode").
    pub const BROADCAST: u32 = 0xff;

    /// The `id` of broadcast to x2APICs, in either mode (SDM vol. 3, "Destination Field in x2APIC Mode").
    pub const X2APIC_BROADCAST: u32 = u32::MAX;

    /// A logical destination.
    #[must_use]
    pub const fn logical(id: u32) -> Self {
        let mode = DestinationMode::Logical;
        Self { mode, id }
    }

    /// A physical destination.
    #[must_use]
    pub const fn physical(id: u32) -> Self {
        let mode = DestinationMode::Physical;
        Self { mode, id }
    }

    const fn is_broadcast(self) -> bool {
        matches!(self.id, Self::BROADCAST | Self::X2APIC_BROADCAST)
    }
}

/// Whether all that a destination names get an interrupt, or one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryMode {
    /// Everyone.
    Fixed,
    /// One. KVM picks by the vector, as long as its parameter `vector_hashing` is on, as it is by default.
    LowestPriority {
        /// The vector, 0-255.
        vector: u8,
    },
}

/// The vCPUs and the map that an interrupt meets.
#[derive(Clone, Copy, Debug)]
pub struct Fabric<'a> {
    /// All vCPUs, ascending by index.
    pub vcpus: &'a [VcpuSample],
    /// The map that KVM looks up; `None` where it is NULL.
    pub map: Option<&'a LogicalAndPhysicalMap>,
    /// The generation of the KVM that looks it up.
    pub rules: MapRules,
    /// `kvm->arch.x2apic_format`: MSIs have 32-bit destinations. Otherwise KVM takes bits 7:0 (`kvm_set_msi_irq`).
    pub x2apic_format: bool,
    /// `kvm->arch.x2apic_broadcast_quirk_disabled`: x2APICs do not take 0xFF of an MSI as broadcast.
    pub broadcast_quirk_disabled: bool,
}

/// What becomes of an interrupt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The enabled vCPUs that the architecture names.
    pub architecture: VcpuSet,
    /// The vCPUs in whose IRR KVM sets the vector.
    pub kvm: VcpuSet,
    /// Whether KVM scanned all vCPUs rather than looking the destination up.
    pub scanned: bool,
    /// How the two sets compare.
    pub verdict: Verdict,
}

impl Fabric<'_> {
    /// What becomes of an interrupt to `dest`.
    #[must_use]
    pub fn deliver(&self, dest: Destination, mode: DeliveryMode) -> Delivery {
        let architecture = architecture::named(self.vcpus, dest, self.broadcast_quirk_disabled);
        let (kvm, scanned) = self.reach(dest, mode);
        Delivery::new(architecture, kvm, scanned, dest, mode)
    }
}

impl Delivery {
    fn new(
        architecture: VcpuSet,
        kvm: VcpuSet,
        scanned: bool,
        dest: Destination,
        mode: DeliveryMode,
    ) -> Self {
        let slow = scanned && !dest.is_broadcast();
        let verdict = Verdict::compare(&architecture, &kvm, slow, mode);
        Self {
            architecture,
            kvm,
            scanned,
            verdict,
        }
    }
}
