//! The kinds of interrupts that are tried: how each is sent, how ldrscope is asked about it, and whom the architecture
//! names. A round is one kind, sent to all its destinations in every VM of a batch.

use std::fmt;

use super::architecture::Apic;
use crate::contract::MapMode;
use crate::guest::Msi;
use crate::host::MapRules;

/// One kind of interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Round {
    /// Fixed, to the 8-bit logical destinations.
    Logical,
    /// Fixed, to the 8-bit physical destinations.
    Physical,
    /// Lowest priority with this vector, to the 8-bit logical destinations.
    LowestPriority(u8),
    /// Fixed, to 256 of the logical destinations that have more than 8 bits.
    WideLogical,
    /// Fixed, to 256 of the physical destinations that have more than 8 bits.
    WidePhysical,
}

/// Names everybody in 8 bits.
const BROADCAST: u32 = 0xFF;
/// Names everybody in 32 bits.
const WIDE_BROADCAST: u32 = 0xFFFF_FFFF;

impl Round {
    /// The destinations, ascending. There are 256 of each kind: no more fit the IRR at a time.
    pub(super) fn destinations(self) -> Vec<u32> {
        const CLUSTERS: u32 = 63;
        match self {
            Self::Logical | Self::Physical | Self::LowestPriority(_) => (0..=BROADCAST).collect(),
            Self::WideLogical => {
                // One bit at either end of a cluster, two beside each other, and some in the middle.
                let masks = [0x0001, 0x0003, 0x0FF0, 0x8000];
                let named = (1..=CLUSTERS).flat_map(|cluster| masks.map(|mask| cluster << 16 | mask));
                // An x2APIC of cluster 0 beyond its eighth, clusters that nobody has, and broadcast.
                let others = [0x0100, 0x7000_0001, 0x8000_0001, WIDE_BROADCAST];
                sorted(named.chain(others))
            }
            Self::WidePhysical => {
                let near = 0x100..0x180;
                let far = (0x180..1000).step_by(5);
                let others = [0x0001_0000, 0x0001_0001, 0x8000_0000, WIDE_BROADCAST];
                sorted(near.chain(far).chain(others))
            }
        }
    }

    /// The interrupt to `dest`. `place` is the place of `dest` among the destinations.
    pub(super) const fn msi(self, dest: u32, place: u8) -> Msi {
        match self {
            Self::Logical | Self::WideLogical => Msi::logical(dest, place),
            Self::Physical | Self::WidePhysical => Msi::physical(dest, place),
            Self::LowestPriority(vector) => Msi::lowest_priority(dest, vector),
        }
    }

    /// What `ldrscope deliver` is asked.
    pub(super) fn question(self) -> Vec<String> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let list = || {
            let all = self.destinations();
            all.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
        };
        match self {
            Self::Logical => Vec::new(),
            Self::Physical => words(&["--physical"]),
            Self::LowestPriority(vector) => words(&["--lowest-priority", &vector.to_string()]),
            Self::WideLogical => words(&["--dest", &list()]),
            Self::WidePhysical => words(&["--physical", "--dest", &list()]),
        }
    }

    /// Whether `dest` names `apic` by the architecture.
    pub(super) fn names(self, apic: &Apic, dest: u32, quirk_off: bool) -> bool {
        match self {
            Self::Logical | Self::LowestPriority(_) | Self::WideLogical => {
                apic.answers_logical(dest, quirk_off)
            }
            Self::Physical | Self::WidePhysical => apic.answers_physical(dest, quirk_off),
        }
    }

    /// Whether KVM, going by a map of that mode, scans all vCPUs for `dest` although it is no broadcast
    /// (`kvm_apic_map_get_dest_lapic`).
    pub(super) fn scans(self, dest: u32, mode: MapMode, rules: MapRules) -> bool {
        let logical = !matches!(self, Self::Physical | Self::WidePhysical);
        let scans = match mode {
            MapMode::None => true,
            MapMode::Disabled | MapMode::Mixed => logical,
            MapMode::SwDisabled => logical && rules != MapRules::ConflictDisables,
            MapMode::Flat | MapMode::Cluster | MapMode::X2apic => false,
        };
        scans && dest != BROADCAST && dest != WIDE_BROADCAST
    }

    /// The same for every vector.
    pub(super) const fn kind(self) -> Self {
        match self {
            Self::LowestPriority(_) => Self::LowestPriority(0),
            round => round,
        }
    }

    /// Whether one receiver is enough.
    pub(super) const fn is_lowest_priority(self) -> bool {
        matches!(self, Self::LowestPriority(_))
    }
}

fn sorted(destinations: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut destinations: Vec<u32> = destinations.collect();
    destinations.sort_unstable();
    destinations
}

/// What a pair of a state and a destination is called.
impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Logical => "logical fixed",
            Self::Physical => "physical fixed",
            Self::LowestPriority(_) => "logical lowest priority",
            Self::WideLogical => "32-bit logical",
            Self::WidePhysical => "32-bit physical",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Round;

    #[test]
    fn every_round_has_256_destinations_each_once_and_ascending() {
        for round in [
            Round::Logical,
            Round::Physical,
            Round::LowestPriority(0x31),
            Round::WideLogical,
            Round::WidePhysical,
        ] {
            let destinations = round.destinations();
            assert_eq!(destinations.len(), 256, "{round}");
            assert!(destinations.is_sorted_by(|a, b| a < b), "{round}");
        }
    }

    /// To a VM without 32-bit IDs the low 8 bits count, and of them 0xFF would be a broadcast.
    #[test]
    fn no_wide_destination_but_broadcast_is_one_in_its_low_bits() {
        for round in [Round::WideLogical, Round::WidePhysical] {
            let destinations = round.destinations();
            let broadcasts = destinations.iter().filter(|dest| **dest & 0xFF == 0xFF);
            assert!(broadcasts.eq(&[0xFFFF_FFFF]), "{round}");
        }
    }
}
