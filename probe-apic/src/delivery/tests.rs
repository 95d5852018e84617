//! Truth tables of delivery, and property tests against matchers written apart from the crate's own.

use proptest::prelude::*;

use super::*;
use crate::{
    fixture::{bigsmp, clean_flat, cluster, disable, flat, vcpu, with, x2apic},
    id::VcpuIdx,
    lapic::Lapic,
    rebuild::rebuild,
    reg::{ApicBase, Dfr, Ldr, Svr},
};

fn set(members: &[u32]) -> VcpuSet {
    members.iter().copied().map(VcpuIdx).collect()
}

/// Who should get `dest`, who gets it, and the verdict.
fn deliver(vcpus: &[VcpuSample], rules: MapRules, dest: u8) -> (Vec<u32>, Vec<u32>, Verdict) {
    let map = rebuild(vcpus, false, rules).map;
    let fabric = Fabric {
        vcpus,
        map: map.as_ref(),
        rules,
        broadcast_quirk_disabled: false,
    };
    let dest = Destination::Logical8(dest);
    let architecture = architecture(vcpus, false, dest);
    let kvm = kvm(&fabric, dest);
    let verdict = verdict(&architecture, &kvm, dest);
    let numbers = |set: &VcpuSet| set.iter().map(|idx| idx.0).collect();
    (numbers(&architecture), numbers(&kvm.vcpus), verdict)
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
        let fabric = Fabric {
            vcpus: &vcpus,
            map: map.as_ref(),
            rules,
            broadcast_quirk_disabled: false,
        };
        let scanned = kvm(&fabric, Destination::Logical8(1)).scanned;
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
            vcpus: &vcpus,
            map: map.as_ref(),
            rules,
            broadcast_quirk_disabled: true,
        };
        let reached = kvm(&fabric, Destination::BROADCAST);
        let first_eight = set(&[0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(
            reached,
            Reached {
                vcpus: first_eight.clone(),
                scanned: false
            },
            "{rules}"
        );
        assert_eq!(architecture(&vcpus, true, Destination::BROADCAST), first_eight);
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
    let dest = Destination::Logical8(1);
    let by = |vcpus: &[u32], scanned| Reached {
        vcpus: set(vcpus),
        scanned,
    };
    assert_eq!(verdict(&set(&[0, 1]), &by(&[2], false), dest), Verdict::Misrouted);
    assert_eq!(
        verdict(&set(&[0, 1]), &by(&[0, 2], true), dest),
        Verdict::Misrouted
    );
    assert_eq!(verdict(&set(&[0, 1]), &by(&[], true), dest), Verdict::Lost);
    assert_eq!(verdict(&set(&[0, 1]), &by(&[1], true), dest), Verdict::Partial);
    assert_eq!(verdict(&set(&[0, 1]), &by(&[0, 1], true), dest), Verdict::Slow);
    assert_eq!(verdict(&set(&[]), &by(&[], true), dest), Verdict::Ok);
    assert_eq!(
        verdict(&set(&[0]), &by(&[0], true), Destination::BROADCAST),
        Verdict::Ok
    );
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

/// `kvm_apic_match_dest` and `__apic_accept_irq`, or the SDM's reading of the DFR, one vCPU at a time.
fn naively_matches(lapic: &Lapic, dest: u8, exact_dfr: bool) -> bool {
    if lapic.apic_base.0 & 0x800 == 0 || !lapic.sw_enabled {
        return false;
    }
    let dest = u32::from(dest);
    if dest == 0xff {
        return true;
    }
    if lapic.apic_base.0 & 0x400 != 0 {
        return lapic.ldr.0 >> 16 == dest >> 16 && lapic.ldr.0 & dest & 0xffff != 0;
    }
    let id = lapic.ldr.0 >> 24;
    let model = if exact_dfr {
        [0xffff_ffff, 0x0fff_ffff]
            .iter()
            .position(|&dfr| dfr == lapic.dfr.0)
    } else {
        [0xf, 0x0].iter().position(|&model| model == lapic.dfr.0 >> 28)
    };
    match model {
        Some(0) => id & dest != 0,
        Some(_) => id >> 4 == dest >> 4 && id & dest & 0xf != 0,
        None => false,
    }
}

fn any_vcpu(idx: u32) -> impl Strategy<Value = VcpuSample> {
    let dfr = prop_oneof![
        6 => Just(Dfr::FLAT), 3 => Just(Dfr::CLUSTER), 1 => Just(Dfr(0x5fff_ffff)), 1 => Just(Dfr(0xf000_0000))
    ];
    let base = prop_oneof![
        6 => Just(0xfee0_0800_u64), 2 => Just(0xfee0_0c00), 1 => Just(0xfee0_0000), 1 => Just(0xfee0_0400)
    ];
    let ldr = prop_oneof![
        3 => (0_u32..8).prop_map(|bit| 1 << (24 + bit)),
        2 => any::<u8>().prop_map(|id| u32::from(id) << 24),
        1 => any::<u32>(),
        1 => Just(0),
    ];
    (dfr, base, ldr, any::<[bool; 3]>(), 0_u32..4).prop_map(
        move |(dfr, base, ldr, [enabled, derived, moved], id)| {
            with(vcpu(idx), |lapic| {
                lapic.dfr = dfr;
                lapic.apic_base = ApicBase(base);
                lapic.ldr = if base & 0xc00 == 0xc00 && derived {
                    x2apic(idx).lapic.ldr
                } else {
                    Ldr(ldr)
                };
                lapic.svr = Svr(if enabled { 0x1ff } else { 0xff });
                lapic.sw_enabled = enabled;
                if moved {
                    lapic.id = id << 24;
                }
            })
        },
    )
}

fn any_vcpus() -> impl Strategy<Value = Vec<VcpuSample>> {
    (0_u32..20).prop_flat_map(|vcpus| (0..vcpus).map(any_vcpu).collect::<Vec<_>>())
}

fn any_rules() -> impl Strategy<Value = MapRules> {
    (0..3_usize).prop_map(|rules| MapRules::ALL[rules])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn architecture_is_what_each_vcpu_says_for_itself(vcpus in any_vcpus(), dest: u8) {
        let naive: VcpuSet = vcpus
            .iter()
            .filter(|vcpu| naively_matches(&vcpu.lapic, dest, false))
            .map(|vcpu| vcpu.idx)
            .collect();
        prop_assert_eq!(architecture(&vcpus, false, Destination::Logical8(dest)), naive);
    }

    #[test]
    fn scan_is_what_each_vcpu_says_for_itself(vcpus in any_vcpus(), dest: u8, rules in any_rules()) {
        let naive: VcpuSet = vcpus
            .iter()
            .filter(|vcpu| naively_matches(&vcpu.lapic, dest, true))
            .map(|vcpu| vcpu.idx)
            .collect();
        let fabric = Fabric { vcpus: &vcpus, map: None, rules, broadcast_quirk_disabled: false };
        let reached = kvm(&fabric, Destination::Logical8(dest));
        prop_assert_eq!(reached, Reached { vcpus: naive, scanned: true });
    }

    #[test]
    fn table_says_what_each_destination_says(
        vcpus in any_vcpus(),
        rules in any_rules(),
        broadcast_quirk_disabled: bool,
        x2apic_format: bool,
    ) {
        let map = rebuild(&vcpus, x2apic_format, rules).map;
        let fabric = Fabric { vcpus: &vcpus, map: map.as_ref(), rules, broadcast_quirk_disabled };
        let table = Deliveries::compute(&fabric);
        for number in 0..=u8::MAX {
            let dest = Destination::Logical8(number);
            let should = architecture(&vcpus, broadcast_quirk_disabled, dest);
            let reached = kvm(&fabric, dest);
            prop_assert_eq!(table.verdict(number), verdict(&should, &reached, dest));
            prop_assert_eq!(table.architecture(number), &should);
            prop_assert_eq!(table.kvm(number), &reached.vcpus);
            prop_assert_eq!(table.scanned(number), reached.scanned);
        }
    }
}
