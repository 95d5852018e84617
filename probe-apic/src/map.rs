//! The maps: what KVM published and what ldrscope rebuilt, in one type, so that they compare as they are.
//!
//! Building one is left to [`mod@crate::rebuild`], comparing the two to [`crate::vm`], and what a lookup in it
//! yields to [`crate::delivery`].

use std::fmt;

use crate::id::{ApicId, Slot, VcpuIdx};

/// The mode of a map, in the words of the JSON contract. A NULL map is no map at all (`none`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapMode {
    /// KVM gave up the logical map (`KVM_APIC_MODE_MAP_DISABLED`, 6.3 on): every logical interrupt is a scan.
    Disabled,
    /// No software-enabled APIC has a logical ID (`KVM_APIC_MODE_SW_DISABLED`, or mode 0 before 6.3).
    SwDisabled,
    /// xAPIC flat.
    Flat,
    /// xAPIC cluster.
    Cluster,
    /// x2APIC: looked up in the physical map.
    X2apic,
    /// Several of the above at once (before 6.3): every logical interrupt is a scan.
    Mixed,
}

impl MapMode {
    /// The word of the JSON contract.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::SwDisabled => "sw-disabled",
            Self::Flat => "flat",
            Self::Cluster => "cluster",
            Self::X2apic => "x2apic",
            Self::Mixed => "mixed",
        }
    }
}

impl fmt::Display for MapMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One `kvm_apic_map`, its LAPIC pointers already turned into vCPUs. The same type serves for the map read
/// from the kernel and for the one rebuilt from registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogicalAndPhysicalMap {
    /// The mode that lookups use.
    pub mode: MapMode,
    /// Entries that delivery uses, ascending by slot; empty unless the mode is flat or cluster.
    pub slots: Vec<(Slot, VcpuIdx)>,
    /// `phys_map`, ascending by APIC ID.
    pub physical: Vec<(ApicId, VcpuIdx)>,
    /// `max_apic_id`: the highest index of `phys_map`; at least 255.
    pub max_apic_id: u32,
}

impl LogicalAndPhysicalMap {
    /// The vCPU in `slot`, where the mode uses slots and the slot is taken.
    #[must_use]
    pub fn in_slot(&self, slot: Slot) -> Option<VcpuIdx> {
        let at = self.slots.binary_search_by_key(&slot, |&(slot, _)| slot).ok()?;
        Some(self.slots[at].1)
    }

    /// The vCPU that `phys_map` has under `id`.
    #[must_use]
    pub fn at_physical_id(&self, id: ApicId) -> Option<VcpuIdx> {
        let at = self.physical.binary_search_by_key(&id, |&(id, _)| id).ok()?;
        Some(self.physical[at].1)
    }

    /// Whether a logical interrupt (broadcast aside) is looked up in this map rather than sought by a scan.
    /// What [`MapMode::SwDisabled`] means depends on the generation and is left to [`crate::delivery`].
    #[must_use]
    pub const fn is_optimised(&self) -> bool {
        matches!(self.mode, MapMode::Flat | MapMode::Cluster | MapMode::X2apic)
    }
}

/// The map KVM delivers by.
pub type PublishedMap = LogicalAndPhysicalMap;

/// The map ldrscope computes from the registers under a set of map rules.
pub type RebuiltMap = LogicalAndPhysicalMap;
