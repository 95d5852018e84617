//! The 2019 scenario, before and after the crash, under the rules of then and now.

use super::{Consequences, Scope};
use crate::{
    aim::Aim,
    cause::Register,
    finding::{Finding, Rule, Severity},
    fixture::{bigsmp, clean_flat, disable, flat, host_with, only_vm, pin, sample, with, x2apic},
    id::{Slot, VcpuId},
    map_rules::MapRules,
    observation::{VcpuSample, VmSample},
    rules::judge,
};

fn findings(sample: VmSample, rules: MapRules) -> Vec<Finding> {
    judge(only_vm(&host_with(sample, rules)))
}

fn of(findings: &[Finding], rule: Rule) -> Vec<&Finding> {
    findings
        .iter()
        .filter(|finding| finding.key.rule == rule)
        .collect()
}

fn bit(bit: u8) -> Option<Slot> {
    Some(Slot { cluster: 0, bit })
}

/// The state once vCPU 0's kdump kernel has set up its APIC.
fn crashed(others_disabled: bool) -> Vec<VcpuSample> {
    let mut vcpus = bigsmp(16);
    vcpus[0] = flat(0, 1);
    if others_disabled {
        for vcpu in &mut vcpus[1..] {
            *vcpu = with(*vcpu, disable);
        }
    }
    vcpus
}

#[test]
fn before_the_crash_nothing_is_above_warning_on_6_1() {
    let found = findings(sample(1, bigsmp(16), MapRules::Overwrite), MapRules::Overwrite);
    let collisions = of(&found, Rule::LdrCollision);
    assert_eq!(
        collisions.iter().map(|f| f.key.slot).collect::<Vec<_>>(),
        [bit(0), bit(1), bit(2), bit(3)]
    );
    for finding in collisions.into_iter().chain(of(&found, Rule::LdrMultiBit)) {
        assert_eq!(finding.severity, Severity::Warning, "{finding:#?}");
        assert!(finding.effect.broken() > 0);
    }
    let [unset] = of(&found, Rule::LdrUnset)[..] else {
        panic!("{found:#?}")
    };
    assert_eq!(
        (unset.severity, &unset.vcpus[..]),
        (Severity::Info, &[VcpuId(0)][..])
    );
    assert_eq!(found.len(), 6);
}

#[test]
fn before_the_crash_nothing_is_above_notice_on_6_12() {
    let rules = MapRules::ConflictDisables;
    let found = findings(sample(1, bigsmp(16), rules), rules);
    assert!(
        found.iter().all(|finding| finding.severity <= Severity::Notice),
        "{found:#?}"
    );
    assert!(
        of(&found, Rule::LdrCollision)
            .iter()
            .all(|f| f.severity == Severity::Notice && f.effect.slow)
    );
    let [disabled] = of(&found, Rule::MapDisabled)[..] else {
        panic!("{found:#?}")
    };
    assert_eq!(disabled.vcpus, [VcpuId(3)]);
    assert!(
        disabled
            .summary
            .contains("vCPU 3 has the multi-bit LDR 0x03000000"),
        "{}",
        disabled.summary
    );
}

#[test]
fn pin_aimed_at_a_stolen_slot_is_critical_on_6_1() {
    let rules = MapRules::Overwrite;
    let armed = VmSample {
        aims: vec![pin(1)],
        ..sample(1, crashed(false), rules)
    };
    let found = findings(armed, rules);
    let first = of(&found, Rule::LdrCollision)[0];
    assert_eq!((first.key.slot, first.severity), (bit(0), Severity::Critical));
    assert!(first.effect.partial > 0);
    for part in [
        "slot 0 (flat bit 0) is claimed by vCPUs 0, 1, 3, 5, 7, 9, 11, 13 and 15",
        "KVM delivers to vCPU 15 (LDR 0x0f000000) alone",
        "IOAPIC pin 2, vector 0x30, aims at logical destination 0x01",
    ] {
        assert!(first.summary.contains(part), "{}", first.summary);
    }
}

#[test]
fn pin_in_physical_mode_makes_nothing_critical() {
    let rules = MapRules::Overwrite;
    let physical = Aim {
        logical: false,
        ..pin(1)
    };
    let armed = VmSample {
        aims: vec![physical],
        ..sample(1, crashed(false), rules)
    };
    assert!(
        findings(armed, rules)
            .iter()
            .all(|finding| finding.severity <= Severity::Warning)
    );
}

#[test]
fn pin_found_by_a_scan_is_a_warning_on_6_12() {
    let rules = MapRules::ConflictDisables;
    let armed = VmSample {
        aims: vec![pin(1)],
        ..sample(1, crashed(false), rules)
    };
    let found = findings(armed, rules);
    for finding in of(&found, Rule::LdrCollision)
        .into_iter()
        .chain(of(&found, Rule::MapDisabled))
    {
        assert_eq!(finding.severity, Severity::Warning, "{finding:#?}");
        assert!(finding.effect.slow && finding.effect.broken() == 0);
    }
    assert!(found.iter().all(|finding| finding.severity <= Severity::Warning));
}

#[test]
fn left_over_ldrs_of_disabled_apics_are_latent_from_5_3_on() {
    for rules in [MapRules::Overwrite, MapRules::ConflictDisables] {
        let armed = VmSample {
            aims: vec![pin(1)],
            ..sample(1, crashed(true), rules)
        };
        let found = findings(armed, rules);
        let [stale] = &found[..] else { panic!("{found:#?}") };
        assert_eq!(
            (stale.key.rule, stale.severity, stale.suspected),
            (Rule::LdrStale, Severity::Notice, false)
        );
        assert_eq!(stale.vcpus, (1..16).map(VcpuId).collect::<Vec<_>>());
        assert_eq!(stale.effect, crate::finding::Effect::default());
    }
}

#[test]
fn left_over_ldr_steals_the_kdump_interrupt_up_to_5_2() {
    let rules = MapRules::KeepDisabled;
    let armed = VmSample {
        aims: vec![pin(1)],
        ..sample(1, crashed(true), rules)
    };
    let found = findings(armed, rules);
    let [stale] = of(&found, Rule::LdrStale)[..] else {
        panic!("{found:#?}")
    };
    assert_eq!(stale.severity, Severity::Critical);
    assert!(stale.effect.lost > 0);
    assert!(
        stale.summary.contains("slot 0 (flat bit 0) points at vCPU 15"),
        "{}",
        stale.summary
    );
}

#[test]
fn left_over_ldr_in_a_slot_of_its_own_matters_only_once_its_apic_is_enabled() {
    for rules in MapRules::ALL {
        let mut vcpus = clean_flat(4);
        vcpus[3] = with(vcpus[3], disable);
        let found = findings(sample(1, vcpus, rules), rules);
        let [stale] = &found[..] else { panic!("{found:#?}") };
        assert_eq!(stale.severity, Severity::Info, "{rules}");
    }
    let rules = MapRules::ConflictDisables;
    let vcpus = vec![flat(0, 1), with(flat(1, 1), disable)];
    assert_eq!(
        findings(sample(1, vcpus, rules), rules)[0].severity,
        Severity::Notice
    );
}

#[test]
fn clean_guests_have_no_findings() {
    for rules in MapRules::ALL {
        let x2apics = (0..4).map(x2apic).collect();
        let physical = (0..16).map(|number| flat(number, 0)).collect();
        for vcpus in [clean_flat(8), x2apics, physical, Vec::new()] {
            let armed = VmSample {
                aims: vec![pin(1)],
                ..sample(1, vcpus, rules)
            };
            assert_eq!(findings(armed, rules), [], "{rules}");
        }
    }
}

#[test]
fn register_that_disabled_the_map_is_the_cause_that_is_named() {
    let rules = MapRules::ConflictDisables;
    let found = findings(sample(1, bigsmp(4), rules), rules);
    let [disabled] = of(&found, Rule::MapDisabled)[..] else {
        panic!("{found:#?}")
    };
    assert_eq!(
        disabled.cause.as_ref().and_then(|cause| cause.register),
        Some(Register::Ldr)
    );
}

#[test]
fn shared_physical_id_breaks_its_destination_before_6_3_and_slows_it_after() {
    let shared = || vec![flat(0, 1), with(flat(1, 2), |lapic| lapic.id = 0)];
    let to_it = || Aim {
        logical: false,
        ..pin(0)
    };
    let assess = |rules, aims| {
        let sample = VmSample {
            aims,
            ..sample(1, shared(), rules)
        };
        let host = host_with(sample, rules);
        let vm = only_vm(&host);
        let scope = Scope::physical(vm.vcpus().iter());
        Consequences::of(vm).assess(&scope)
    };
    let old = MapRules::Overwrite;
    let harmless = assess(old, Vec::new());
    assert_eq!(
        (
            harmless.severity,
            harmless.effect.partial,
            harmless.effect.broken()
        ),
        (Severity::Warning, 1, 1)
    );
    // The same number as a logical destination is another matter.
    assert_eq!(assess(old, vec![pin(0)]).severity, Severity::Warning);
    assert_eq!(assess(old, vec![to_it()]).severity, Severity::Critical);
    let new = assess(MapRules::ConflictDisables, vec![to_it()]);
    assert_eq!((new.severity, new.effect.slow), (Severity::Warning, true));
    // It would break elsewhere.
    assert_eq!(
        assess(MapRules::ConflictDisables, Vec::new()).severity,
        Severity::Notice
    );
}
