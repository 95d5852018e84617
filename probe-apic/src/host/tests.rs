//! What `apply` says is to be judged.

use super::*;
use crate::{
    fixture::{VM, bigsmp, clean_flat, only_vm, recalculated, sample, seen},
    id::BootTime,
    observation::{VcpuSample, VmGone},
};

const RULES: MapRules = MapRules::Overwrite;

#[test]
fn sample_that_says_nothing_new_is_not_judged_again() {
    let mut host = Host::new(Some(RULES));
    assert_eq!(host.apply(&seen(Origin::Birth)), None);
    assert_eq!(
        host.apply(&Observation::Sample(sample(1, clean_flat(2), RULES))),
        Some(VM)
    );
    assert_eq!(
        host.apply(&Observation::Sample(sample(2, clean_flat(2), RULES))),
        None
    );
    assert_eq!(
        host.apply(&Observation::Sample(sample(3, bigsmp(2), RULES))),
        Some(VM)
    );
    assert_eq!(only_vm(&host).trigger(), Some(BootTime(3)));
}

#[test]
fn vm_that_is_gone_is_named_once_more_and_forgotten() {
    let mut host = Host::new(Some(RULES));
    host.apply(&seen(Origin::Birth));
    let gone = Observation::VmGone(VmGone {
        vm: VM,
        at: BootTime(9),
    });
    assert_eq!(host.apply(&gone), Some(VM));
    assert!(host.vm(&VM).is_none());
    assert_eq!(host.apply(&gone), None);
}

#[test]
fn sample_of_an_unknown_vm_makes_it_known_and_its_other_observations_do_not() {
    let mut host = Host::new(Some(RULES));
    assert_eq!(host.apply(&recalculated(1, &clean_flat(1)[0])), None);
    assert_eq!(host.vms().count(), 0);
    assert_eq!(
        host.apply(&Observation::Sample(sample(2, clean_flat(2), RULES))),
        Some(VM)
    );
    assert_eq!(only_vm(&host).origin(), Origin::Scan);
}

const BY_BITS: [MapRules; 2] = [MapRules::Overwrite, MapRules::KeepDisabled];

/// Four bigsmp vCPUs, the last one software-disabled: only `keep-disabled` enters it.
fn half_stopped() -> Vec<VcpuSample> {
    let mut vcpus = bigsmp(4);
    vcpus[3].lapic.sw_enabled = false;
    vcpus
}

/// The sample, and what confirms it.
fn read_twice(host: &mut Host, sample: VmSample) {
    let again = VmSample {
        at: sample.at.plus(50_000_000),
        ..sample.clone()
    };
    host.apply(&Observation::Sample(sample));
    host.apply(&Observation::Sample(again));
}

#[test]
fn published_map_decides_between_the_rules_that_the_types_allow() {
    for rules in BY_BITS {
        let mut host = Host::new(BY_BITS);
        host.apply(&Observation::Sample(sample(1, clean_flat(2), rules)));
        assert_eq!(host.map_rules(), Some(MapRules::Overwrite));
        read_twice(
            &mut host,
            VmSample {
                vm: VmId(VM.0 + 1),
                ..sample(1, half_stopped(), rules)
            },
        );
        assert_eq!((host.map_rules(), host.rules()), (Some(rules), Some(rules)));
        assert!(host.vms().all(|vm| vm.agrees() == Some(true)));
    }
}

#[test]
fn host_whose_map_fits_no_rules_is_unknown_until_it_fits_again() {
    let mut host = Host::new(BY_BITS);
    let mut odd = sample(1, half_stopped(), RULES);
    if let Some(map) = &mut odd.published {
        map.slots.clear();
    }
    read_twice(&mut host, odd);
    assert_eq!(host.map_rules(), None);
    assert_eq!(only_vm(&host).agrees(), Some(false));
    host.apply(&Observation::Sample(sample(100_000_000, clean_flat(4), RULES)));
    assert_eq!(host.map_rules(), Some(RULES));
}

#[test]
fn map_that_fits_no_rules_proves_nothing_against_as_many_that_do() {
    let odd = |vm| {
        let mut odd = sample(1, half_stopped(), RULES);
        odd.vm = VmId(vm);
        if let Some(map) = &mut odd.published {
            map.slots.clear();
        }
        odd
    };
    let mut host = Host::new([RULES]).proven();
    read_twice(&mut host, odd(1));
    assert_eq!(host.map_rules(), Some(RULES));
    assert!(host.vms().all(|vm| vm.agrees() == Some(false)));
    read_twice(&mut host, odd(2));
    assert_eq!(host.map_rules(), None);
    // Whoever has clean LDRs has the same map under all rules.
    let mut third = sample(1, clean_flat(4), RULES);
    third.vm = VmId(3);
    host.apply(&Observation::Sample(third.clone()));
    assert_eq!(host.map_rules(), None);
    third.at = BootTime(9);
    third.vcpus = half_stopped();
    third.published = sample(9, half_stopped(), RULES).published;
    host.apply(&Observation::Sample(third));
    assert_eq!(host.map_rules(), Some(RULES));
}

#[test]
fn one_bad_read_makes_no_rules_unknown() {
    let mut host = Host::new(BY_BITS);
    host.apply(&Observation::Sample(sample(1, clean_flat(4), RULES)));
    let mut odd = sample(2, half_stopped(), RULES);
    odd.published = None;
    host.apply(&Observation::Sample(odd));
    assert_eq!(host.map_rules(), Some(RULES));
}

#[test]
fn host_without_possible_rules_compares_nothing() {
    let mut host = Host::new([]);
    host.apply(&Observation::Sample(sample(1, bigsmp(4), RULES)));
    assert_eq!((host.map_rules(), only_vm(&host).agrees()), (None, None));
}
