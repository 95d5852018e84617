//! The test vectors and the notes of the map rules, generation by generation.

use super::*;
use crate::{
    fixture::{bigsmp, cluster, disable, flat, vcpu, with, x2apic},
    id::VcpuId,
    reg::{ApicBase, Dfr, Ldr},
};

const OLD: [MapRules; 2] = [MapRules::KeepDisabled, MapRules::Overwrite];

fn map(vcpus: &[VcpuSample], rules: MapRules) -> RebuiltMap {
    rebuild(vcpus, false, rules).map.unwrap()
}

fn flat_slots(owners: &[(u8, u32)]) -> Vec<(Slot, VcpuIdx)> {
    owners
        .iter()
        .map(|&(bit, idx)| (Slot { cluster: 0, bit }, VcpuIdx(idx)))
        .collect()
}

fn physical(owners: &[(u32, u32)]) -> Vec<(ApicId, VcpuIdx)> {
    owners
        .iter()
        .map(|&(id, idx)| (ApicId(id), VcpuIdx(idx)))
        .collect()
}

fn kdump_on(crashed: u32) -> Vec<VcpuSample> {
    bigsmp(16)
        .into_iter()
        .map(|vcpu| match vcpu.idx.0 == crashed {
            true => flat(crashed, 1),
            false => with(vcpu, disable),
        })
        .collect()
}

#[test]
fn bigsmp_guest_overwrites_before_6_3_and_disables_the_map_after() {
    for rules in OLD {
        let map = map(&bigsmp(16), rules);
        assert_eq!(map.mode, MapMode::Flat);
        assert_eq!(
            map.slots,
            flat_slots(&[(0, 15), (1, 14), (2, 12), (3, 8)]),
            "{rules}"
        );
    }
    let rebuilt = rebuild(&bigsmp(16), false, MapRules::ConflictDisables);
    assert_eq!(rebuilt.map.unwrap().mode, MapMode::Disabled);
    let gave_up = GaveUp {
        vcpu: VcpuIdx(3),
        register: Register::Ldr,
        reason: GaveUpReason::MultiBitLdr,
    };
    assert_eq!(rebuilt.gave_up, Some(gave_up));
}

#[test]
fn kdump_kernel_loses_its_slot_to_a_dead_vcpu_only_where_disabled_apics_are_kept() {
    let vcpus = kdump_on(5);
    let kept = map(&vcpus, MapRules::KeepDisabled);
    assert_eq!(kept.slots, flat_slots(&[(0, 15), (1, 14), (2, 12), (3, 8)]));
    for rules in [MapRules::Overwrite, MapRules::ConflictDisables] {
        let map = map(&vcpus, rules);
        assert_eq!(
            (map.mode, map.slots),
            (MapMode::Flat, flat_slots(&[(0, 5)])),
            "{rules}"
        );
    }
}

#[test]
fn repeated_ldr_goes_to_the_last_vcpu_or_disables_the_map() {
    let vcpus = [flat(0, 1), flat(1, 2), flat(2, 4), flat(3, 2)];
    for rules in OLD {
        assert_eq!(
            map(&vcpus, rules).slots,
            flat_slots(&[(0, 0), (1, 3), (2, 2)]),
            "{rules}"
        );
    }
    let rebuilt = rebuild(&vcpus, false, MapRules::ConflictDisables);
    let reason = GaveUpReason::SlotTaken {
        slot: Slot { cluster: 0, bit: 1 },
        by: VcpuIdx(1),
    };
    assert_eq!(
        rebuilt.gave_up,
        Some(GaveUp {
            vcpu: VcpuIdx(3),
            register: Register::Ldr,
            reason
        })
    );
    let map = rebuilt.map.unwrap();
    assert_eq!((map.mode, map.slots), (MapMode::Disabled, Vec::new()));
}

#[test]
fn well_formed_clusters_are_alike_in_every_generation() {
    let vcpus: Vec<_> = (0..6)
        .map(|cpu| cluster(cpu, (cpu / 4) << 4 | 1 << (cpu % 4)))
        .collect();
    let expected: Vec<_> = (0..6_u8)
        .map(|cpu| {
            (
                Slot {
                    cluster: cpu / 4,
                    bit: cpu % 4,
                },
                VcpuIdx(u32::from(cpu)),
            )
        })
        .collect();
    for rules in MapRules::ALL {
        let map = map(&vcpus, rules);
        assert_eq!((map.mode, &map.slots), (MapMode::Cluster, &expected), "{rules}");
    }
}

#[test]
fn nobody_with_a_logical_id_leaves_the_mode_unset() {
    let vcpus: Vec<_> = (0..4).map(|number| flat(number, 0)).collect();
    for rules in MapRules::ALL {
        assert_eq!(map(&vcpus, rules).mode, MapMode::SwDisabled, "{rules}");
    }
}

#[test]
fn x2apic_beside_xapic_is_mixed_before_6_3_and_disabled_after() {
    let vcpus = [x2apic(0), flat(1, 2)];
    for (rules, mode) in MapRules::ALL
        .into_iter()
        .zip([MapMode::Mixed, MapMode::Mixed, MapMode::Disabled])
    {
        let rebuilt = rebuild(&vcpus, false, rules);
        assert_eq!(rebuilt.map.unwrap().mode, mode, "{rules}");
        let reason = GaveUpReason::SecondMode;
        assert_eq!(
            rebuilt.gave_up,
            Some(GaveUp {
                vcpu: VcpuIdx(1),
                register: Register::ApicBase,
                reason
            }),
            "{rules}"
        );
    }
}

#[test]
fn flat_beside_cluster_is_put_down_to_the_dfr() {
    for rules in MapRules::ALL {
        let gave_up = rebuild(&[flat(0, 1), cluster(1, 2)], false, rules)
            .gave_up
            .unwrap();
        assert_eq!(
            (gave_up.vcpu, gave_up.register),
            (VcpuIdx(1), Register::Dfr),
            "{rules}"
        );
    }
}

#[test]
fn multi_bit_ldr_is_entered_under_its_lowest_bit_before_6_3() {
    for rules in OLD {
        assert_eq!(map(&[flat(0, 0xc0)], rules).slots, flat_slots(&[(6, 0)]));
        assert_eq!(
            map(&[cluster(0, 0x2c)], rules).slots,
            [(Slot { cluster: 2, bit: 2 }, VcpuIdx(0))],
            "{rules}"
        );
    }
}

#[test]
fn ldr_without_a_logical_id_still_sets_the_mode() {
    let left_over = with(flat(0, 0), |lapic| lapic.ldr = Ldr(1));
    for rules in MapRules::ALL {
        let map = map(&[left_over], rules);
        assert_eq!((map.mode, map.slots), (MapMode::Flat, Vec::new()), "{rules}");
    }
    let mixed = [left_over, cluster(1, 1)];
    assert_eq!(map(&mixed, MapRules::Overwrite).mode, MapMode::Mixed);
    assert_eq!(map(&mixed, MapRules::ConflictDisables).mode, MapMode::Disabled);
}

#[test]
fn any_dfr_but_flat_counts_as_cluster() {
    for dfr in [0, 0x0fff_ffff, 0x5fff_ffff, 0xf000_0000] {
        let odd = with(flat(0, 0x11), |lapic| lapic.dfr = Dfr(dfr));
        for rules in MapRules::ALL {
            let map = map(&[odd], rules);
            let slots = vec![(Slot { cluster: 1, bit: 0 }, VcpuIdx(0))];
            assert_eq!(
                (map.mode, map.slots),
                (MapMode::Cluster, slots),
                "{rules} {dfr:#x}"
            );
        }
    }
}

#[test]
fn conflicts_of_disabled_apics_matter_only_where_they_are_kept() {
    let vcpus = [flat(0, 1), with(cluster(1, 1), disable)];
    assert_eq!(map(&vcpus, MapRules::KeepDisabled).mode, MapMode::Mixed);
    assert_eq!(map(&vcpus, MapRules::Overwrite).mode, MapMode::Flat);
    assert_eq!(map(&vcpus, MapRules::ConflictDisables).mode, MapMode::Flat);
}

#[test]
fn hardware_disabled_vcpu_is_in_no_map() {
    let off = with(flat(1, 1), |lapic| lapic.apic_base = ApicBase(0xfee0_0000));
    for rules in MapRules::ALL {
        let map = map(&[flat(0, 1), off], rules);
        assert_eq!(map.slots, flat_slots(&[(0, 0)]), "{rules}");
        assert_eq!(map.physical, physical(&[(0, 0)]), "{rules}");
    }
}

#[test]
fn first_xapic_keeps_a_physical_id_before_6_3_and_a_second_one_ends_the_map_after() {
    let double = with(vcpu(1), |lapic| lapic.id = 0);
    for rules in OLD {
        assert_eq!(
            map(&[vcpu(0), double], rules).physical,
            physical(&[(0, 0)]),
            "{rules}"
        );
    }
    let rebuilt = rebuild(&[vcpu(0), double], false, MapRules::ConflictDisables);
    let reason = GaveUpReason::PhysicalIdTaken {
        id: ApicId(0),
        by: VcpuIdx(0),
    };
    assert_eq!(rebuilt.map, None);
    assert_eq!(
        rebuilt.gave_up,
        Some(GaveUp {
            vcpu: VcpuIdx(1),
            register: Register::Id,
            reason
        })
    );
}

#[test]
fn thirty_two_bit_ids_tolerate_duplicates_in_every_generation() {
    let double = with(vcpu(1), |lapic| lapic.id = 0);
    let map = rebuild(&[vcpu(0), double], true, MapRules::ConflictDisables)
        .map
        .unwrap();
    assert_eq!(map.physical, physical(&[(0, 0)]));
}

#[test]
fn x2apic_id_takes_its_place_from_an_xapic_that_had_it() {
    let first = with(vcpu(0), |lapic| lapic.id = 1 << 24);
    for rules in OLD {
        assert_eq!(
            map(&[first, x2apic(1)], rules).physical,
            physical(&[(1, 1)]),
            "{rules}"
        );
    }
}

#[test]
fn xapic_with_a_large_id_has_two_places_before_6_3_or_with_32_bit_ids() {
    let large = VcpuSample {
        idx: VcpuIdx(0),
        ..vcpu(0x105)
    };
    assert_eq!(large.id, VcpuId(0x105));
    for rules in OLD {
        let map = map(&[large], rules);
        assert_eq!(map.physical, physical(&[(5, 0), (0x105, 0)]), "{rules}");
        assert_eq!(map.max_apic_id, 0x105);
    }
    assert_eq!(
        map(&[large], MapRules::ConflictDisables).physical,
        physical(&[(5, 0)])
    );
    let wide = rebuild(&[large], true, MapRules::ConflictDisables).map.unwrap();
    assert_eq!(wide.physical, physical(&[(5, 0), (0x105, 0)]));
}

#[test]
fn x2apic_ldr_of_another_id_plants_an_alias_before_6_3() {
    let planted = with(x2apic(1), |lapic| lapic.ldr = Ldr(0x0001_0008));
    for rules in OLD {
        assert_eq!(
            map(&[x2apic(0), planted], rules).physical,
            physical(&[(0, 0), (1, 1), (0x13, 1)]),
            "{rules}"
        );
    }
    let map = map(&[x2apic(0), planted], MapRules::ConflictDisables);
    assert_eq!(map.physical, physical(&[(0, 0), (1, 1)]));
}

#[test]
fn x2apic_row_is_cut_to_the_map() {
    // Row 16 begins at 256, beyond the highest index of 255; in row 15 the last bit is the last index.
    let beyond = with(x2apic(1), |lapic| lapic.ldr = Ldr(0x0010_0001));
    let last = with(x2apic(1), |lapic| lapic.ldr = Ldr(0x000f_8000));
    for rules in OLD {
        assert_eq!(map(&[beyond], rules).physical, physical(&[(1, 1)]), "{rules}");
        assert_eq!(
            map(&[last], rules).physical,
            physical(&[(1, 1), (255, 1)]),
            "{rules}"
        );
    }
}

#[test]
fn walk_is_in_order_of_creation_not_of_ids() {
    let late = VcpuSample {
        idx: VcpuIdx(1),
        ..flat(0, 1)
    };
    let early = VcpuSample {
        idx: VcpuIdx(0),
        ..flat(7, 1)
    };
    assert_eq!(
        map(&[early, late], MapRules::Overwrite).slots,
        flat_slots(&[(0, 1)])
    );
}

#[test]
fn empty_vm_has_an_empty_map_of_256_places() {
    for rules in MapRules::ALL {
        let map = map(&[], rules);
        assert_eq!(
            (map.mode, map.physical.len(), map.max_apic_id),
            (MapMode::SwDisabled, 0, 255),
            "{rules}"
        );
    }
}
