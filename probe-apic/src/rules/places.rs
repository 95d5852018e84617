//! All slots that there are, of both models, in order: a number for each, and sets of them.
//!
//! A flat bit and a slot of a cluster are different slots, even where they are written alike.

use crate::{
    id::Slot,
    logical_id::{Model, NamedSlots},
};

/// Slots of the flat model.
const FLAT: usize = 8;

/// All of them: the flat ones, then four a cluster.
pub(super) const PLACES: usize = FLAT + 16 * 4;

/// The places of the slots that a logical ID names, ascending.
pub(super) fn of(named: NamedSlots) -> impl Iterator<Item = usize> {
    let (first, bits) = match named.model {
        Model::Flat => (0, named.bits),
        Model::Cluster => (FLAT + usize::from(named.cluster % 16) * 4, named.bits & 0xf),
    };
    (0..8)
        .filter(move |bit| bits & 1 << bit != 0)
        .map(move |bit| first + bit)
}

/// The slot at a place.
pub(super) const fn slot_at(place: usize) -> (Model, Slot) {
    match place.checked_sub(FLAT) {
        None => {
            let bit = place as u8;
            (Model::Flat, Slot { cluster: 0, bit })
        }
        Some(place) => {
            let (cluster, bit) = (place as u8 / 4, place as u8 % 4);
            (Model::Cluster, Slot { cluster, bit })
        }
    }
}

/// The slots that are named at least once, ascending by model and slot.
pub(super) fn each_once(named: impl Iterator<Item = NamedSlots>) -> Vec<(Model, Slot)> {
    let mut is_named = [false; PLACES];
    for place in named.flat_map(of) {
        is_named[place] = true;
    }
    let places = is_named.iter().enumerate().filter(|&(_, named)| *named);
    places.map(|(place, _)| slot_at(place)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logical_id::LogicalId;

    #[test]
    fn places_are_those_of_the_slots_that_an_id_names() {
        for id in (0..=u8::MAX).map(LogicalId) {
            for model in [Model::Flat, Model::Cluster] {
                let named = id.named_under(model);
                let slots: Vec<_> = named.iter().map(|slot| (model, slot)).collect();
                assert_eq!(of(named).map(slot_at).collect::<Vec<_>>(), slots, "{id:?}");
                assert_eq!(each_once([named, named].into_iter()), slots, "{id:?}");
            }
        }
    }
}
