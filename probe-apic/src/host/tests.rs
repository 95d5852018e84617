//! What `apply` says is to be judged.

use super::*;
use crate::{
    fixture::{VM, bigsmp, clean_flat, only_vm, recalculated, sample, seen},
    id::BootTime,
    observation::VmGone,
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

#[test]
fn new_rules_rebuild_every_map() {
    let mut host = Host::new(None);
    host.apply(&Observation::Sample(sample(1, bigsmp(4), RULES)));
    assert_eq!(only_vm(&host).agrees(), None);
    host.set_rules(Some(RULES));
    assert_eq!(only_vm(&host).agrees(), Some(true));
    host.set_rules(Some(MapRules::ConflictDisables));
    assert_eq!(only_vm(&host).agrees(), Some(false));
}
