//! The slots of a VM's logical maps, as a document tells them: who has each, who claims it, and whether that is as it should be.
//!
//! Pure. How it looks is left to whoever draws it: the HTML page as a picture, `top` as text.

use std::{collections::BTreeMap, ops::Range};

use probe_apic::{id::Slot, logical_id::Model};

use crate::message::{Map, Vm, meaning};

/// Slots in a row of a drawing.
const COLUMNS: u8 = 4;

/// Who has which slot.
pub(crate) type Owners = BTreeMap<Slot, u32>;
/// Who claims which slot, ascending.
pub(crate) type Claims = BTreeMap<Slot, Vec<u32>>;

/// The model that a map's slots are read by; `None` for a map without slots.
pub(crate) fn model(map: &Map) -> Option<Model> {
    match &*map.mode {
        "flat" => Some(Model::Flat),
        "cluster" => Some(Model::Cluster),
        _ => None,
    }
}

/// Who has which slot of a map.
pub(crate) fn owners(map: &Map) -> Owners {
    let entries = map.slots.iter();
    entries
        .map(|entry| (meaning::slot(entry.slot), entry.vcpu_id))
        .collect()
}

/// Who claims which slot of a model.
pub(crate) fn claims(vm: &Vm, model: Model) -> Claims {
    let mut claims = Claims::new();
    for vcpu in &vm.vcpus {
        let claimed = meaning::lapic(vcpu)
            .claims()
            .filter(|claimed| claimed.model == model);
        for slot in claimed.into_iter().flat_map(|claimed| claimed.iter()) {
            claims.entry(slot).or_default().push(vcpu.vcpu_id);
        }
    }
    claims.values_mut().for_each(|vcpus| vcpus.sort_unstable());
    claims
}

/// How a slot is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nobody claims it, nobody has it.
    Free,
    /// Who claims it has it, alone.
    Right,
    /// Several claim it.
    Shared,
    /// Somebody has it who does not claim it.
    Wrong,
    /// Somebody claims it, and nobody has it.
    Missing,
}

impl State {
    /// One word for it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Right => "right",
            Self::Shared => "shared",
            Self::Wrong => "wrong",
            Self::Missing => "missing",
        }
    }

    /// Whether it is not as it should be.
    pub(crate) const fn is_bad(self) -> bool {
        matches!(self, Self::Shared | Self::Wrong | Self::Missing)
    }

    /// Of a slot of a map; without a map (`is_map`) of a claim alone.
    pub(crate) fn of(is_map: bool, owner: Option<u32>, claims: &[u32]) -> Self {
        match (owner, claims) {
            (None, []) => Self::Free,
            (None, [_]) if !is_map => Self::Right,
            (None, _) if !is_map => Self::Shared,
            (None, _) => Self::Missing,
            (Some(owner), [only]) if owner == *only => Self::Right,
            (Some(owner), claims) if claims.contains(&owner) => Self::Shared,
            (Some(_), _) => Self::Wrong,
        }
    }
}

/// The slots, four to a row; cluster 15, where broadcasts go, only if somebody is there.
pub(crate) fn rows(model: Model, owners: Option<&Owners>, claims: &Claims) -> Vec<Vec<Slot>> {
    let row = |cluster: u8, bits: Range<u8>| bits.map(|bit| Slot { cluster, bit }).collect();
    match model {
        Model::Flat => vec![row(0, 0..COLUMNS), row(0, COLUMNS..8)],
        Model::Cluster => {
            let is_used = |cluster: u8| {
                let owned = owners.into_iter().flat_map(Owners::keys);
                owned.chain(claims.keys()).any(|slot| slot.cluster == cluster)
            };
            let clusters = (0..15).chain(is_used(15).then_some(15));
            clusters.map(|cluster| row(cluster, 0..COLUMNS)).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_right_only_if_its_one_claimant_has_it() {
        let of = |owner, claims: &[u32]| State::of(true, owner, claims);
        assert_eq!(of(None, &[]), State::Free);
        assert_eq!(of(Some(1), &[1]), State::Right);
        assert_eq!(of(Some(3), &[1, 3]), State::Shared);
        assert_eq!(of(Some(15), &[0]), State::Wrong);
        assert_eq!(of(Some(15), &[]), State::Wrong);
        assert_eq!(of(None, &[0]), State::Missing);
        assert_eq!(State::of(false, None, &[0]), State::Right);
        assert_eq!(State::of(false, None, &[0, 1]), State::Shared);
    }

    #[test]
    fn the_space_of_broadcasts_is_drawn_only_if_somebody_is_in_it() {
        assert_eq!(rows(Model::Flat, None, &Claims::new()).concat().len(), 8);
        assert_eq!(rows(Model::Cluster, None, &Claims::new()).concat().len(), 60);
        let claimed = Claims::from([(Slot { cluster: 15, bit: 0 }, vec![1])]);
        assert_eq!(rows(Model::Cluster, None, &claimed).concat().len(), 64);
    }
}
