//! When published and rebuilt map count as the same.

use super::*;
use crate::{
    finding::Rule,
    fixture::{VM, bigsmp, clean_flat, flat, host_with, only_vm, sample, seen, vcpu, with},
    host::Host,
    id::Slot,
    observation::{Lost, Observation},
    rules::judge,
};

const RULES: MapRules = MapRules::Overwrite;

fn agrees(sample: VmSample) -> Option<bool> {
    only_vm(&host_with(sample, RULES)).agrees()
}

#[test]
fn map_that_follows_the_rules_agrees() {
    for rules in MapRules::ALL {
        let host = host_with(sample(1, bigsmp(16), rules), rules);
        assert_eq!(only_vm(&host).agrees(), Some(true), "{rules}");
        assert_eq!(only_vm(&host).published(), only_vm(&host).rebuilt());
    }
}

#[test]
fn map_of_another_generation_diverges() {
    let host = host_with(sample(1, bigsmp(16), MapRules::ConflictDisables), RULES);
    let vm = only_vm(&host);
    assert_eq!(vm.agrees(), Some(false));
    let divergence = judge(vm)
        .into_iter()
        .find(|finding| finding.key.rule == Rule::MapDivergence)
        .unwrap();
    let bits: Vec<u8> = divergence.slots.iter().map(|slot| slot.bit).collect();
    assert_eq!(bits, [0, 1, 2, 3]);
    assert!(
        divergence.summary.contains("mode disabled against flat"),
        "{}",
        divergence.summary
    );
}

#[test]
fn difference_in_the_physical_map_alone_diverges() {
    let mut sample = sample(1, clean_flat(2), RULES);
    sample.published.as_mut().unwrap().physical.pop();
    let host = host_with(sample, RULES);
    let findings = judge(only_vm(&host));
    let [divergence] = &findings[..] else {
        panic!("{findings:#?}")
    };
    assert_eq!(divergence.key.rule, Rule::MapDivergence);
    assert_eq!(divergence.vcpus, [VcpuId(1)]);
}

#[test]
fn torn_sample_says_nothing_about_divergence_and_is_uncertain() {
    let torn = VmSample {
        consistent: false,
        ..sample(1, bigsmp(16), MapRules::ConflictDisables)
    };
    let host = host_with(torn, RULES);
    let vm = only_vm(&host);
    assert_eq!((vm.agrees(), vm.confidence()), (None, Confidence::Uncertain));
    assert_eq!(vm.map_in_use(), MapInUse::Known(vm.rebuilt()));
    assert!(
        judge(vm)
            .iter()
            .all(|finding| finding.confidence == Confidence::Uncertain)
    );
}

#[test]
fn vcpu_that_no_recalculation_has_entered_is_left_out() {
    let mut young = sample(1, clean_flat(2), RULES);
    young.vcpus.push(vcpu(2));
    assert_eq!(agrees(young.clone()), Some(true));
    young.mapped_vcpus = Some(2);
    assert_eq!(agrees(young.clone()), Some(true));
    // One that has registers of its own was in some recalculation.
    young.mapped_vcpus = None;
    young.vcpus[2] = flat(2, 4);
    assert_eq!(agrees(young), Some(false));
}

#[test]
fn number_of_walked_vcpus_bounds_the_rebuild() {
    let mut young = sample(1, clean_flat(2), RULES);
    young.vcpus.push(flat(2, 4));
    young.mapped_vcpus = Some(2);
    assert_eq!(agrees(young.clone()), Some(true));
    young.mapped_vcpus = Some(u32::MAX);
    assert_eq!(agrees(young), Some(false));
}

#[test]
fn thirty_two_bit_ids_may_be_turned_on_without_a_recalculation() {
    let rules = MapRules::ConflictDisables;
    let vcpus = vec![flat(0, 1), with(flat(1, 2), |lapic| lapic.id = 0)];
    let sample = VmSample {
        x2apic_format: true,
        ..sample(1, vcpus, rules)
    };
    assert_eq!(sample.published, None);
    assert_eq!(only_vm(&host_with(sample, rules)).agrees(), Some(true));
}

#[test]
fn map_that_was_never_built_is_no_divergence() {
    let fresh = VmSample {
        published: None,
        ..sample(1, vec![vcpu(0)], RULES)
    };
    let host = host_with(fresh, RULES);
    assert_eq!(only_vm(&host).agrees(), None);
    assert_eq!(judge(only_vm(&host)), []);
}

#[test]
fn unknown_rules_leave_the_published_map_to_judge_by() {
    let mut host = Host::new(None);
    host.apply(&seen(Origin::Scan));
    host.apply(&Observation::Sample(sample(1, bigsmp(4), RULES)));
    let vm = only_vm(&host);
    assert_eq!((vm.rebuild(), vm.agrees()), (None, None));
    assert!(
        vm.deliveries(DestinationMode::Logical)
            .unwrap()
            .verdict(1)
            .is_broken()
    );
}

#[test]
fn judging_as_another_kvm_sets_the_published_map_aside() {
    let mut host = Host::new([RULES]).as_if(MapRules::KeepDisabled);
    host.apply(&Observation::Sample(sample(
        1,
        bigsmp(4),
        MapRules::ConflictDisables,
    )));
    let vm = only_vm(&host);
    assert_eq!(
        (vm.published(), vm.agrees(), vm.rules(), vm.as_if()),
        (
            None,
            None,
            Some(MapRules::KeepDisabled),
            Some(MapRules::KeepDisabled)
        )
    );
    let MapInUse::Known(Some(map)) = vm.map_in_use() else {
        panic!("no map")
    };
    assert_eq!(map.in_slot(Slot { cluster: 0, bit: 0 }), Some(VcpuIdx(3)));
}

#[test]
fn loss_makes_a_vm_uncertain_until_it_is_read_again() {
    let mut host = host_with(sample(1, clean_flat(2), RULES), RULES);
    let lost = Observation::Lost(Lost {
        vm: VM,
        at: BootTime(5),
    });
    assert_eq!(host.apply(&lost), Some(VM));
    assert_eq!(host.apply(&lost), None);
    assert_eq!(only_vm(&host).confidence(), Confidence::Uncertain);
    assert_eq!(
        host.apply(&Observation::Sample(sample(6, clean_flat(2), RULES))),
        Some(VM)
    );
    assert_eq!(only_vm(&host).confidence(), Confidence::Certain);
}

#[test]
fn vm_with_its_lapics_in_the_vmm_is_unobservable() {
    let blind = VmSample {
        irqchip: Irqchip::Userspace,
        published: None,
        ..sample(1, vec![], RULES)
    };
    let host = host_with(blind, RULES);
    assert_eq!(only_vm(&host).confidence(), Confidence::Unobservable);
    assert_eq!(judge(only_vm(&host)), []);
}

/// A running VM whose guest has just disabled an APIC: KVM has stored SVR, and sleeps before it marks the map
/// dirty. The sample looks clean and diverges.
fn in_the_window(at_ms: u64, recalculations: u64) -> Observation {
    let before = sample(1, clean_flat(2), RULES);
    let mut after = clean_flat(2);
    after[1].lapic.sw_enabled = false;
    let at = BootTime(at_ms * 1_000_000);
    Observation::Sample(VmSample {
        at,
        trigger: at,
        vcpus: after,
        recalculations,
        ..before
    })
}

#[test]
fn divergence_is_believed_only_after_it_has_stood_for_a_while() {
    let mut host = host_with(sample(1, clean_flat(2), RULES), RULES);
    assert_eq!(host.apply(&in_the_window(100, 0)), None);
    assert!(only_vm(&host).disputed());
    assert_eq!(only_vm(&host).agrees(), Some(true), "what is known stays");
    assert_eq!(host.apply(&in_the_window(149, 0)), None);
    assert_eq!(host.apply(&in_the_window(150, 0)), Some(VM));
    assert_eq!(only_vm(&host).agrees(), Some(false));
    assert!(!only_vm(&host).disputed());
}

#[test]
fn recalculation_in_between_starts_the_wait_anew() {
    let mut host = host_with(sample(1, clean_flat(2), RULES), RULES);
    for step in 0..20 {
        assert_eq!(host.apply(&in_the_window(100 + step * 20, step)), None);
    }
    assert_eq!(only_vm(&host).agrees(), Some(true));
}

#[test]
fn divergence_in_the_first_sample_is_shown_as_uncertain() {
    let mut host = Host::new(Some(RULES));
    host.apply(&seen(Origin::Scan));
    assert_eq!(host.apply(&in_the_window(100, 0)), Some(VM));
    assert_eq!(only_vm(&host).agrees(), None);
    assert_eq!(only_vm(&host).confidence(), Confidence::Uncertain);
}
