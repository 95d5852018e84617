//! Readings of single registers, for every value that they can hold.

use probe_apic::{
    logical_id::{LogicalId, Model},
    reg::{Dfr, Ldr},
};
use proptest::prelude::*;

use crate::strategy::config;

fn any_dfr() -> impl Strategy<Value = Dfr> {
    prop_oneof![
        any::<u32>(),
        Just(u32::MAX),
        (0_u32..16).prop_map(|model| model << 28 | 0x0fff_ffff)
    ]
    .prop_map(Dfr)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn model_is_in_the_upper_four_bits_alone(dfr in any_dfr(), low: u32) {
        let same_model = Dfr(dfr.0 & 0xf000_0000 | low & 0x0fff_ffff);
        prop_assert_eq!(dfr.model(), same_model.model());
        let exists = matches!(dfr.0 >> 28, 0x0 | 0xf);
        prop_assert_eq!(dfr.model().is_some(), exists);
    }

    /// The scan knows no model that the SDM does not; whatever the scan takes as flat the map does, and nothing else.
    #[test]
    fn kvms_readings_of_a_dfr_are_stricter(dfr in any_dfr()) {
        if let Some(model) = dfr.model_of_scan() {
            prop_assert_eq!(dfr.model(), Some(model));
            prop_assert_eq!(dfr.model_of_map(), model);
        }
        prop_assert_eq!(dfr.model_of_map() == Model::Flat, dfr.model_of_scan() == Some(Model::Flat));
    }

    #[test]
    fn parts_of_an_ldr_make_it_up(ldr: u32) {
        let ldr = Ldr(ldr);
        prop_assert_eq!(u32::from(ldr.x2apic_cluster()) << 16 | u32::from(ldr.x2apic_bits()), ldr.0);
        prop_assert_eq!(u32::from(ldr.xapic_logical_id().0), ldr.0 >> 24);
    }
}

#[test]
fn slots_named_in_common_are_what_a_destination_matches_by() {
    for (id, dest) in (0..=u8::MAX).flat_map(|id| (0..=u8::MAX).map(move |dest| (id, dest))) {
        let shares_a_slot = |model| {
            let named = LogicalId(dest).named_under(model);
            let mut slots = LogicalId(id).named_under(model).iter();
            slots.any(|slot| named.contains(slot))
        };
        assert_eq!(
            shares_a_slot(Model::Flat),
            id & dest != 0,
            "flat {id:#04x} {dest:#04x}"
        );
        let by_cluster = id >> 4 == dest >> 4 && id & dest & 0xf != 0;
        assert_eq!(
            shares_a_slot(Model::Cluster),
            by_cluster,
            "cluster {id:#04x} {dest:#04x}"
        );
    }
}
