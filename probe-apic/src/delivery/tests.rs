//! Truth tables of delivery.

use super::*;
use crate::{
    fixture::{bigsmp, clean_flat, cluster, disable, flat, with, x2apic},
    id::{VcpuId, VcpuIdx},
    map::RebuiltMap,
    rebuild::rebuild,
    reg::{ApicBase, Dfr, Ldr},
};

fn set(members: &[u32]) -> VcpuSet {
    members.iter().copied().map(VcpuIdx).collect()
}

fn fabric<'a>(vcpus: &'a [VcpuSample], map: Option<&'a RebuiltMap>, rules: MapRules) -> Fabric<'a> {
    Fabric {
        vcpus,
        map,
        rules,
        x2apic_format: false,
        broadcast_quirk_disabled: false,
    }
}

/// Who should get what is sent to `dest`, who gets it, and the verdict.
fn send(
    vcpus: &[VcpuSample],
    rules: MapRules,
    dest: Destination,
    mode: DeliveryMode,
) -> (Vec<u32>, Vec<u32>, Verdict) {
    let map = rebuild(vcpus, false, rules).map;
    let delivery = fabric(vcpus, map.as_ref(), rules).deliver(dest, mode);
    let numbers = |set: &VcpuSet| set.iter().map(|idx| idx.0).collect();
    (
        numbers(&delivery.architecture),
        numbers(&delivery.kvm),
        delivery.verdict,
    )
}

/// The same of a fixed interrupt to a logical destination.
fn deliver(vcpus: &[VcpuSample], rules: MapRules, dest: u32) -> (Vec<u32>, Vec<u32>, Verdict) {
    send(vcpus, rules, Destination::logical(dest), DeliveryMode::Fixed)
}

fn lowest(vector: u8) -> DeliveryMode {
    DeliveryMode::LowestPriority { vector }
}

#[test]
fn good_entries_are_delivered_directly() {
    for rules in MapRules::ALL {
        assert_eq!(
            deliver(&clean_flat(8), rules, 0x81),
            (vec![0, 7], vec![0, 7], Verdict::Ok),
            "{rules}"
        );
        let clusters = [cluster(0, 0x11), cluster(1, 0x12), cluster(2, 0x21)];
        assert_eq!(
            deliver(&clusters, rules, 0x13),
            (vec![0, 1], vec![0, 1], Verdict::Ok),
            "{rules}"
        );
    }
}

#[test]
fn slot_of_a_disabled_vcpu_eats_the_interrupt_where_disabled_apics_are_kept() {
    let vcpus = [flat(0, 1), with(flat(1, 1), disable)];
    assert_eq!(
        deliver(&vcpus, MapRules::KeepDisabled, 1),
        (vec![0], vec![], Verdict::Lost)
    );
    assert_eq!(
        deliver(&vcpus, MapRules::Overwrite, 1),
        (vec![0], vec![0], Verdict::Ok)
    );
    assert_eq!(
        deliver(&vcpus, MapRules::ConflictDisables, 1),
        (vec![0], vec![0], Verdict::Ok)
    );
}

#[test]
fn of_two_enabled_vcpus_that_share_a_bit_the_later_alone_gets_it_before_6_3() {
    let vcpus = [flat(0, 1), flat(1, 1)];
    assert_eq!(
        deliver(&vcpus, MapRules::Overwrite, 1),
        (vec![0, 1], vec![1], Verdict::Partial)
    );
    assert_eq!(
        deliver(&vcpus, MapRules::ConflictDisables, 1),
        (vec![0, 1], vec![0, 1], Verdict::Slow)
    );
}

#[test]
fn higher_bits_of_a_multi_bit_ldr_are_lost_before_6_3() {
    let vcpus = [flat(0, 0x03)];
    assert_eq!(
        deliver(&vcpus, MapRules::Overwrite, 2),
        (vec![0], vec![], Verdict::Lost)
    );
    assert_eq!(
        deliver(&vcpus, MapRules::ConflictDisables, 2),
        (vec![0], vec![0], Verdict::Slow)
    );
}

#[test]
fn mixed_modes_are_scanned_by_every_generation() {
    for rules in MapRules::ALL {
        let vcpus = [x2apic(0), flat(1, 2)];
        assert_eq!(
            deliver(&vcpus, rules, 0x02),
            (vec![1], vec![1], Verdict::Slow),
            "{rules}"
        );
        assert_eq!(
            deliver(&vcpus, rules, 0x01),
            (vec![0], vec![0], Verdict::Slow),
            "{rules}"
        );
        assert_eq!(
            deliver(&vcpus, rules, 0x04),
            (vec![], vec![], Verdict::Ok),
            "{rules}"
        );
    }
}

#[test]
fn without_any_logical_id_nobody_is_reached_but_by_broadcast() {
    for rules in MapRules::ALL {
        let vcpus = [flat(0, 0), flat(1, 0)];
        assert_eq!(
            deliver(&vcpus, rules, 0x01),
            (vec![], vec![], Verdict::Ok),
            "{rules}"
        );
        assert_eq!(
            deliver(&vcpus, rules, 0xff),
            (vec![0, 1], vec![0, 1], Verdict::Ok),
            "{rules}"
        );
    }
}

#[test]
fn unset_mode_is_scanned_before_6_3_and_dropped_after() {
    let vcpus = [flat(0, 0)];
    for rules in MapRules::ALL {
        let map = rebuild(&vcpus, false, rules).map;
        let fabric = fabric(&vcpus, map.as_ref(), rules);
        let scanned = fabric
            .deliver(Destination::logical(1), DeliveryMode::Fixed)
            .scanned;
        assert_eq!(scanned, rules != MapRules::ConflictDisables, "{rules}");
    }
}

#[test]
fn null_map_is_scanned() {
    let vcpus = [flat(0, 1), with(flat(1, 2), |lapic| lapic.id = 0)];
    assert_eq!(
        deliver(&vcpus, MapRules::ConflictDisables, 2),
        (vec![1], vec![1], Verdict::Slow)
    );
}

#[test]
fn broadcast_is_never_slow_and_reaches_every_enabled_vcpu() {
    let off = with(flat(2, 4), |lapic| lapic.apic_base = ApicBase(0xfee0_0000));
    let vcpus = [flat(0, 1), with(flat(1, 2), disable), off, x2apic(3)];
    for rules in MapRules::ALL {
        assert_eq!(
            deliver(&vcpus, rules, 0xff),
            (vec![0, 3], vec![0, 3], Verdict::Ok),
            "{rules}"
        );
    }
}

#[test]
fn without_the_quirk_255_is_an_ordinary_destination_of_x2apics() {
    let vcpus: Vec<_> = (0..12).map(x2apic).collect();
    for rules in MapRules::ALL {
        let map = rebuild(&vcpus, false, rules).map;
        let fabric = Fabric {
            broadcast_quirk_disabled: true,
            ..fabric(&vcpus, map.as_ref(), rules)
        };
        let delivery = fabric.deliver(Destination::logical(0xff), DeliveryMode::Fixed);
        let first_eight = set(&[0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(
            (&delivery.kvm, &delivery.architecture, delivery.scanned),
            (&first_eight, &first_eight, false),
            "{rules}"
        );
    }
}

#[test]
fn x2apic_row_is_looked_up_in_the_physical_map() {
    let vcpus: Vec<_> = (0..20).map(x2apic).collect();
    for rules in MapRules::ALL {
        assert_eq!(
            deliver(&vcpus, rules, 0x05),
            (vec![0, 2], vec![0, 2], Verdict::Ok),
            "{rules}"
        );
    }
}

#[test]
fn odd_dfr_is_misrouted_by_the_map_and_ignored_by_the_scan() {
    let odd = with(flat(0, 0x11), |lapic| lapic.dfr = Dfr(0x5fff_ffff));
    for rules in MapRules::ALL {
        assert_eq!(
            deliver(&[odd], rules, 0x11),
            (vec![], vec![0], Verdict::Misrouted),
            "{rules}"
        );
        assert_eq!(
            deliver(&[odd, flat(1, 1)], rules, 0x11),
            (vec![1], vec![1], Verdict::Slow),
            "{rules}"
        );
    }
}

#[test]
fn misrouted_outranks_lost_and_partial() {
    let verdict =
        |should: &[u32], gets: &[u32], slow, mode| Verdict::compare(&set(should), &set(gets), slow, mode);
    for mode in [DeliveryMode::Fixed, lowest(0x30)] {
        assert_eq!(verdict(&[0, 1], &[2], false, mode), Verdict::Misrouted);
        assert_eq!(verdict(&[0, 1], &[0, 2], true, mode), Verdict::Misrouted);
        assert_eq!(verdict(&[0, 1], &[], true, mode), Verdict::Lost);
        assert_eq!(verdict(&[0, 1], &[0, 1], true, mode), Verdict::Slow);
        assert_eq!(verdict(&[], &[], true, mode), Verdict::Ok);
    }
    assert_eq!(
        verdict(&[0, 1], &[1], true, DeliveryMode::Fixed),
        Verdict::Partial
    );
    assert_eq!(verdict(&[0, 1], &[1], true, lowest(0x30)), Verdict::Slow);
    assert_eq!(verdict(&[0, 1], &[1], false, lowest(0x30)), Verdict::Ok);
}

#[test]
fn dead_vcpu_takes_the_kdump_kernels_interrupt_on_6_1() {
    let mut vcpus = bigsmp(16);
    vcpus[0] = flat(0, 1);
    let (should, gets, verdict) = deliver(&vcpus, MapRules::Overwrite, 1);
    assert_eq!(should, [0, 1, 3, 5, 7, 9, 11, 13, 15]);
    assert_eq!((gets, verdict), (vec![15], Verdict::Partial));
    assert_eq!(deliver(&vcpus, MapRules::ConflictDisables, 1).2, Verdict::Slow);
}

#[test]
fn vector_hashing_picks_a_bit_of_the_destination_populated_or_not() {
    let mut vcpus = clean_flat(3);
    // Under `overwrite` a multi-bit LDR leaves its upper bits' slots empty.
    vcpus[2].lapic.ldr = Ldr(0x0c00_0000);
    let picked = |dest, vector| {
        let dest = Destination::logical(dest);
        let (_, picked, verdict) = send(&vcpus, MapRules::Overwrite, dest, lowest(vector));
        (picked, verdict)
    };
    assert_eq!(picked(0x0c, 0x30), (vec![2], Verdict::Ok));
    assert_eq!(picked(0x0c, 0x31), (vec![], Verdict::Lost));
    assert_eq!(picked(0x07, 0x31), (vec![1], Verdict::Ok));
    assert_eq!(picked(0x00, 0x31), (vec![], Verdict::Ok));
    // Broadcast is scanned: the second of three.
    assert_eq!(picked(0xff, 0x31), (vec![1], Verdict::Ok));
}

#[test]
fn vector_hashing_of_the_scan_counts_enabled_matches_alone() {
    let vcpus = [flat(0, 1), with(flat(1, 1), disable), flat(2, 1), flat(3, 1)];
    let picked = |vector| {
        send(
            &vcpus,
            MapRules::ConflictDisables,
            Destination::logical(1),
            lowest(vector),
        )
    };
    assert_eq!(picked(0x30), (vec![0, 2, 3], vec![0], Verdict::Slow));
    assert_eq!(picked(0x31).1, [2]);
    assert_eq!(picked(0x32).1, [3]);
}

#[test]
fn lowest_priority_to_the_slot_of_a_disabled_vcpu_is_lost() {
    let vcpus = [flat(0, 1), with(flat(1, 1), disable)];
    assert_eq!(
        send(
            &vcpus,
            MapRules::KeepDisabled,
            Destination::logical(1),
            lowest(0x30)
        ),
        (vec![0], vec![], Verdict::Lost)
    );
}

#[test]
fn physical_destinations_are_looked_up_by_apic_id() {
    let mut vcpus = clean_flat(4);
    vcpus[1] = with(vcpus[1], |lapic| lapic.id = 9 << 24);
    for rules in MapRules::ALL {
        for (dest, who) in [(0, vec![0]), (1, vec![]), (9, vec![1]), (0xff, vec![0, 1, 2, 3])] {
            assert_eq!(
                send(&vcpus, rules, Destination::physical(dest), DeliveryMode::Fixed),
                (who.clone(), who, Verdict::Ok),
                "{rules} {dest}"
            );
        }
    }
}

#[test]
fn shared_physical_id_reaches_the_first_before_6_3_and_both_by_the_scan_after() {
    let vcpus = [flat(0, 1), with(flat(1, 2), |lapic| lapic.id = 0)];
    let to = |rules, mode| send(&vcpus, rules, Destination::physical(0), mode);
    for rules in [MapRules::KeepDisabled, MapRules::Overwrite] {
        let expected = (vec![0, 1], vec![0], Verdict::Partial);
        assert_eq!(to(rules, DeliveryMode::Fixed), expected, "{rules}");
        assert_eq!(to(rules, lowest(1)).1, [0], "{rules}");
    }
    assert_eq!(
        to(MapRules::ConflictDisables, DeliveryMode::Fixed),
        (vec![0, 1], vec![0, 1], Verdict::Slow)
    );
    assert_eq!(to(MapRules::ConflictDisables, lowest(1)).1, [1]);
}

#[test]
fn physical_broadcast_of_lowest_priority_is_fixed() {
    for rules in MapRules::ALL {
        let dest = Destination::physical(0xff);
        assert_eq!(
            send(&clean_flat(3), rules, dest, lowest(1)).1,
            [0, 1, 2],
            "{rules}"
        );
        let dest = Destination::logical(0xff);
        assert_eq!(send(&clean_flat(3), rules, dest, lowest(1)).1, [1], "{rules}");
    }
}

/// What 32-bit destinations reach under `rules` once userspace asked for them.
fn wide(vcpus: &[VcpuSample], rules: MapRules, dest: Destination) -> (Vec<u32>, Vec<u32>, Verdict) {
    let map = rebuild(vcpus, true, rules).map;
    let fabric = Fabric {
        x2apic_format: true,
        broadcast_quirk_disabled: true,
        ..fabric(vcpus, map.as_ref(), rules)
    };
    let delivery = fabric.deliver(dest, DeliveryMode::Fixed);
    let numbers = |set: &VcpuSet| set.iter().map(|idx| idx.0).collect();
    (
        numbers(&delivery.architecture),
        numbers(&delivery.kvm),
        delivery.verdict,
    )
}

#[test]
fn wide_destinations_name_x2apics_of_any_cluster() {
    let vcpus: Vec<_> = (0..40).map(x2apic).collect();
    let all: Vec<u32> = (0..40).collect();
    for rules in MapRules::ALL {
        for (dest, who) in [
            (Destination::logical(0x0002_0081), vec![32, 39]),
            (Destination::logical(0x0003_0001), vec![]),
            (Destination::logical(0xffff_0001), vec![]),
            (Destination::logical(0xffff_ffff), all.clone()),
            (Destination::physical(39), vec![39]),
            (Destination::physical(0x1_0000), vec![]),
            (Destination::physical(0xffff_ffff), all.clone()),
        ] {
            assert_eq!(
                wide(&vcpus, rules, dest),
                (who.clone(), who, Verdict::Ok),
                "{dest:?}"
            );
        }
    }
}

#[test]
fn without_32_bit_ids_kvm_takes_the_low_byte_of_a_destination() {
    let vcpus: Vec<_> = (0..40).map(x2apic).collect();
    assert_eq!(
        deliver(&vcpus, MapRules::ConflictDisables, 0x0002_0001),
        (vec![32], vec![0], Verdict::Misrouted)
    );
}

#[test]
fn xapics_are_named_by_8_bits_but_kvm_takes_the_low_ones_of_more() {
    for rules in MapRules::ALL {
        assert_eq!(
            wide(&clean_flat(4), rules, Destination::logical(0x0001_0002)),
            (vec![], vec![1], Verdict::Misrouted),
            "{rules}"
        );
        assert_eq!(
            wide(&clean_flat(4), rules, Destination::physical(0x102)),
            (vec![], vec![], Verdict::Ok),
            "{rules}"
        );
    }
}

#[test]
fn hot_plugged_xapic_is_reached_by_its_number() {
    let mut vcpus = clean_flat(2);
    vcpus[1].id = VcpuId(300);
    vcpus[1].lapic.id = 44 << 24;
    for rules in MapRules::ALL {
        let dest = Destination::physical(300);
        assert_eq!(wide(&vcpus, rules, dest).1, [1], "{rules}");
        let by_scan = Fabric {
            x2apic_format: true,
            ..fabric(&vcpus, None, rules)
        };
        assert_eq!(
            by_scan.deliver(dest, DeliveryMode::Fixed).kvm,
            set(&[1]),
            "{rules}"
        );
    }
}
