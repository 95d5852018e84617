//! Who gets an interrupt: by the architecture, and by KVM through its map or its scan.
//!
//! Modelled are edge-triggered fixed interrupts of non-CPU sources (IOAPIC pins, MSIs) with a logical
//! destination, which `kvm_irq_delivery_to_apic` (arch/x86/kvm/lapic.c, same logic 5.10 to 7.3) routes. AVIC's
//! own logical table and MSIs already posted to a vCPU are not. What a broken destination amounts to is left
//! to [`crate::severity`].

use std::fmt;

use crate::{
    map::{LogicalAndPhysicalMap, MapMode},
    map_rules::MapRules,
    observation::VcpuSample,
    vcpu_set::VcpuSet,
};

mod lowest_priority;
mod responders;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use lowest_priority::Picked;
use responders::Responders;
pub use table::Deliveries;

/// Where an interrupt is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Destination {
    /// Logical mode, the 8-bit destination field of an MSI or an IOAPIC pin.
    Logical8(u8),
}

impl Destination {
    /// The broadcast destination of 8-bit fields.
    pub const BROADCAST: Self = Self::Logical8(0xff);
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
    /// `kvm->arch.x2apic_broadcast_quirk_disabled`: x2APICs do not take 0xFF of an MSI as broadcast.
    pub broadcast_quirk_disabled: bool,
}

/// Whom KVM delivers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The vCPUs whose IRR it sets.
    pub vcpus: VcpuSet,
    /// Whether it scanned all vCPUs rather than looking the destination up.
    pub scanned: bool,
}

/// How KVM's delivery compares with the architecture's, for one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// The same vCPUs, or none by both.
    Ok,
    /// The same vCPUs, by a scan. Broadcast is never slow: every KVM scans for it.
    Slow,
    /// Nobody, though the architecture names somebody.
    Lost,
    /// Somebody whom the architecture does not name.
    Misrouted,
    /// Some of those whom the architecture names.
    Partial,
}

impl Verdict {
    /// The word of the JSON contract.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Slow => "slow",
            Self::Lost => "lost",
            Self::Misrouted => "misrouted",
            Self::Partial => "partial",
        }
    }

    /// Whether the interrupt does not arrive where it should.
    #[must_use]
    pub const fn is_broken(self) -> bool {
        matches!(self, Self::Lost | Self::Misrouted | Self::Partial)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The hardware- and software-enabled vCPUs that match `dest` under their own mode (SDM vol. 3, "Determining
/// IPI Destination"; the DFR is read by bits 31:28, other models match nothing).
#[must_use]
pub fn architecture(vcpus: &[VcpuSample], broadcast_quirk_disabled: bool, dest: Destination) -> VcpuSet {
    let Destination::Logical8(dest) = dest;
    Responders::by_architecture(vcpus).answer_msi(dest, broadcast_quirk_disabled)
}

/// The vCPUs whose IRR KVM sets for `dest` (`kvm_apic_map_get_dest_lapic`, else the scan of
/// `kvm_irq_delivery_to_apic`). Software-disabled vCPUs may match, but `__apic_accept_irq` refuses for them.
#[must_use]
pub fn kvm(fabric: &Fabric<'_>, dest: Destination) -> Reached {
    let Destination::Logical8(dest) = dest;
    match fabric.look_up(dest) {
        LookUp::Scan => Reached {
            vcpus: Responders::by_scan(fabric.vcpus).answer_msi(dest, fabric.broadcast_quirk_disabled),
            scanned: true,
        },
        LookUp::Row(map) => Reached {
            vcpus: Responders::by_map(fabric.vcpus, map).answer(dest),
            scanned: false,
        },
        LookUp::Nobody => Reached {
            vcpus: VcpuSet::new(),
            scanned: false,
        },
    }
}

/// Compares `kvm`'s delivery to `dest` with the `architecture`'s.
#[must_use]
pub fn verdict(architecture: &VcpuSet, kvm: &Reached, dest: Destination) -> Verdict {
    compare(
        architecture,
        &kvm.vcpus,
        kvm.scanned && dest != Destination::BROADCAST,
    )
}

fn compare(architecture: &VcpuSet, kvm: &VcpuSet, slow: bool) -> Verdict {
    if !kvm.is_subset(architecture) {
        Verdict::Misrouted
    } else if kvm.is_empty() && !architecture.is_empty() {
        Verdict::Lost
    } else if kvm != architecture {
        Verdict::Partial
    } else if slow && !kvm.is_empty() {
        Verdict::Slow
    } else {
        Verdict::Ok
    }
}

/// What KVM does with a logical destination before it looks at any vCPU.
enum LookUp<'a> {
    /// Scans all vCPUs.
    Scan,
    /// Takes the vCPUs in the map's row.
    Row(&'a LogicalAndPhysicalMap),
    /// Drops it.
    Nobody,
}

impl<'a> Fabric<'a> {
    /// `kvm_apic_is_broadcast_dest` and `kvm_apic_map_get_logical_dest` for an interrupt without a source APIC.
    fn look_up(&self, dest: u8) -> LookUp<'a> {
        let Some(map) = self.map else { return LookUp::Scan };
        let broadcast = dest == 0xff && !(self.broadcast_quirk_disabled && map.mode == MapMode::X2apic);
        match map.mode {
            _ if broadcast => LookUp::Scan,
            MapMode::Flat | MapMode::Cluster | MapMode::X2apic => LookUp::Row(map),
            MapMode::SwDisabled if self.rules.drops_when_sw_disabled() => LookUp::Nobody,
            MapMode::SwDisabled | MapMode::Mixed | MapMode::Disabled => LookUp::Scan,
        }
    }
}
