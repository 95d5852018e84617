//! The rules about physical IDs, x2APIC IDs, and what they cost: APICv or AVIC.

use super::{super::*, judged, numbers, of, only};
use crate::{
    aim::Aim,
    apicv::{Inhibit, Inhibits},
    finding::{Effect, Severity},
    fixture::{disable, enable, flat, host_with, only_vm, pin, sample, vcpu, with, x2apic},
    id::VcpuIdx,
    map_rules::MapRules,
    observation::VmSample,
    reg::{ApicBase, Ldr},
};

fn with_id(vcpu: VcpuSample, apic_id: u32) -> VcpuSample {
    with(vcpu, |lapic| lapic.id = apic_id << 24)
}

/// A vCPU whose number is not its order of creation.
fn numbered(idx: u32, id: u32) -> VcpuSample {
    VcpuSample {
        id: VcpuId(id),
        lapic: crate::lapic::Lapic::power_on(VcpuId(id)),
        ..vcpu(idx)
    }
}

#[test]
fn x2apic_id_is_held_against_the_number_and_the_ldr() {
    let foreign = with(x2apic(2), |lapic| {
        lapic.id = 5;
        lapic.ldr = Ldr::of_x2apic(5);
    });
    let finding = only(Rule::X2apicIdMismatch, &[x2apic(0), x2apic(1), foreign]);
    assert_eq!(numbers(&finding), [2]);
    assert!(
        finding
            .summary
            .starts_with("vCPU 2 holds x2APIC ID 5 and LDR 0x00000020 in place of its own 2 and 0x00000004;"),
        "{}",
        finding.summary
    );
    let odd_ldr = with(x2apic(17), |lapic| lapic.ldr = Ldr(0x0001_0001));
    assert_eq!(numbers(&only(Rule::X2apicIdMismatch, &[odd_ldr])), [17]);
}

#[test]
fn xapics_and_well_formed_x2apics_have_no_mismatch() {
    let left = with(x2apic(1), |lapic| lapic.apic_base = ApicBase::POWER_ON);
    assert_eq!(
        of(
            Rule::X2apicIdMismatch,
            &[x2apic(0), left, flat(2, 4), x2apic(300)]
        ),
        []
    );
}

#[test]
fn shared_and_changed_ids_are_one_finding() {
    let vcpus = [
        flat(0, 1),
        with_id(flat(1, 2), 0),
        with_id(flat(2, 4), 9),
        flat(3, 8),
    ];
    let finding = only(Rule::PhysicalAlias, &vcpus);
    assert_eq!(numbers(&finding), [0, 1, 2]);
    let expected = "physical APIC ID 0 is that of vCPUs 0 and 1; KVM delivers to vCPU 0 alone; vCPU 1 has the xAPIC ID 0 \
                    in place of its own 1 and vCPU 2 has the xAPIC ID 9 in place of its own 2";
    assert_eq!(finding.summary, expected);
}

#[test]
fn ids_that_are_not_the_vcpus_own_break_physical_destinations() {
    let physical = |dest| Aim {
        logical: false,
        ..pin(dest)
    };
    let judged = |vcpus: &[VcpuSample], rule, aims| {
        let rules = MapRules::Overwrite;
        let sample = VmSample {
            aims,
            ..sample(1, vcpus.to_vec(), rules)
        };
        let found = judged(sample, rules);
        let finding = found
            .into_iter()
            .find(|finding| finding.key.rule == rule)
            .unwrap();
        (finding.severity, finding.effect)
    };
    let shared = [flat(0, 1), with_id(flat(1, 2), 0)];
    let partial = Effect {
        partial: 1,
        ..Effect::default()
    };
    assert_eq!(
        judged(&shared, Rule::PhysicalAlias, vec![]),
        (Severity::Warning, partial)
    );
    assert_eq!(
        judged(&shared, Rule::PhysicalAlias, vec![physical(0)]),
        (Severity::Critical, partial)
    );
    // A logical destination of the same number has nothing to do with it.
    assert_eq!(
        judged(&shared, Rule::PhysicalAlias, vec![pin(1)]),
        (Severity::Warning, partial)
    );

    // What is sent to the ID that it believes to have is lost, what is sent to its number surprises it.
    let foreign = [x2apic(0), with(x2apic(2), |lapic| lapic.id = 5)];
    let both = Effect {
        lost: 1,
        misrouted: 1,
        ..Effect::default()
    };
    assert_eq!(
        judged(&foreign, Rule::X2apicIdMismatch, vec![physical(5)]),
        (Severity::Critical, both)
    );
}

#[test]
fn a_duplicate_makes_newer_kernels_scan() {
    let vcpus = vec![flat(0, 1), with_id(flat(1, 2), 0)];
    let rules = MapRules::ConflictDisables;
    let found = judged(sample(1, vcpus, rules), rules);
    let summary_of = |rule| {
        let finding = found.iter().find(|finding| finding.key.rule == rule);
        finding.map(|finding| finding.summary.clone()).unwrap()
    };
    assert!(summary_of(Rule::PhysicalAlias).contains("KVM has no map and scans all vCPUs"));
    assert!(summary_of(Rule::MapDisabled).contains("KVM has no map at all"));
}

#[test]
fn an_x2apic_is_looked_up_by_its_number() {
    // Its ID register is as good as any: KVM takes the number.
    let foreign = with(x2apic(2), |lapic| lapic.id = 1);
    assert_eq!(of(Rule::PhysicalAlias, &[x2apic(0), x2apic(1), foreign]), []);
    let taken = with_id(flat(1, 2), 2);
    assert_eq!(
        numbers(&only(Rule::PhysicalAlias, &[flat(0, 1), taken, x2apic(2)])),
        [1, 2]
    );
}

#[test]
fn vcpus_beyond_255_may_wait_for_their_x2apic() {
    let boot = flat(0, 1);
    let waiting = numbered(1, 256);
    assert_eq!(of(Rule::PhysicalAlias, &[boot, waiting]), []);
    let off = with(waiting, |lapic| lapic.apic_base = ApicBase(0xfee0_0000));
    assert_eq!(of(Rule::PhysicalAlias, &[boot, off]), []);

    let enabled = with(waiting, enable);
    assert_eq!(numbers(&only(Rule::PhysicalAlias, &[boot, enabled])), [0, 256]);
    let changed = with_id(waiting, 7);
    assert_eq!(numbers(&only(Rule::PhysicalAlias, &[boot, changed])), [256]);
    // A software-disabled vCPU with a number of its own still has its ID.
    let parked = with(with_id(flat(1, 2), 0), disable);
    assert_eq!(numbers(&only(Rule::PhysicalAlias, &[boot, parked])), [0, 1]);
}

#[test]
fn a_thousand_shared_ids_are_summed_up_in_short() {
    let vcpus: Vec<_> = (0..1024)
        .map(|number| with(numbered(number, number), enable))
        .collect();
    for rules in MapRules::ALL {
        for finding in judged(sample(1, vcpus.clone(), rules), rules) {
            assert!(finding.summary.len() < 700, "{}", finding.summary);
        }
    }
}

/// What is found of these vCPUs while these reasons are set.
fn inhibited(names: &[&str], vcpus: &[VcpuSample], rules: MapRules) -> Option<Finding> {
    let sample = VmSample {
        apicv_inhibits: names.iter().map(|name| Inhibit::named(name)).collect(),
        ..sample(1, vcpus.to_vec(), rules)
    };
    judged(sample, rules)
        .into_iter()
        .find(|finding| finding.key.rule == Rule::ApicvInhibited)
}

const LOST: &str = "KVM runs this VM without hardware APIC virtualisation (APICv, AVIC): ";

#[test]
fn aliased_logical_ids_name_the_vcpu_and_register() {
    let rules = MapRules::ConflictDisables;
    let finding = inhibited(
        &["logical_id_aliased"],
        &[flat(0, 1), flat(1, 1), flat(2, 4)],
        rules,
    )
    .unwrap();
    assert_eq!(numbers(&finding), [1]);
    assert_eq!(finding.severity, Severity::Warning);
    assert_eq!(finding.cause.unwrap().register, Some(Register::Ldr));
    let why = "logical_id_aliased, since vCPU 1 (LDR 0x01000000) names slot 0 (flat bit 0), as vCPU 0 does";
    assert_eq!(finding.summary, format!("{LOST}{why}"));
}

#[test]
fn one_conflict_explains_both_kinds_of_aliases() {
    let names = ["physical_id_aliased", "apic_id_modified", "logical_id_aliased"];
    let vcpus = [flat(0, 1), with_id(flat(1, 2), 0)];
    let finding = inhibited(&names, &vcpus, MapRules::ConflictDisables).unwrap();
    assert_eq!(numbers(&finding), [1]);
    let why = "physical_id_aliased and logical_id_aliased, since vCPU 1 has the physical APIC ID 0, as vCPU 0 does; \
               apic_id_modified, since vCPU 1 has the xAPIC ID 0 in place of its own 1";
    assert_eq!(finding.summary, format!("{LOST}{why}"));
}

#[test]
fn a_reason_that_outlives_its_cause_is_told_as_such() {
    for (reason, what) in [
        (
            "apic_id_modified",
            "an xAPIC ID was changed before and is right again",
        ),
        (
            "apic_base_modified",
            "an APIC base was moved before and is back again",
        ),
    ] {
        let finding = inhibited(&[reason], &[flat(0, 1), flat(1, 2)], MapRules::Overwrite).unwrap();
        assert_eq!(numbers(&finding), [0; 0]);
        assert_eq!(
            (finding.severity, finding.effect.broken()),
            (Severity::Warning, 0)
        );
        let why = format!("{reason}, since {what}, which this KVM does not forget");
        assert_eq!(finding.summary, format!("{LOST}{why}"));
    }
}

#[test]
fn a_moved_base_and_the_highest_id_are_named() {
    let moved = with(flat(1, 2), |lapic| lapic.apic_base = ApicBase(0xfed0_0800));
    let finding = inhibited(&["apic_base_modified"], &[flat(0, 1), moved], MapRules::Overwrite).unwrap();
    assert_eq!(numbers(&finding), [1]);
    assert!(
        finding
            .summary
            .ends_with("since vCPU 1 has moved its APIC base to 0xfed00800")
    );
    assert_eq!(finding.cause.unwrap().register, Some(Register::ApicBase));

    let rules = MapRules::ConflictDisables;
    let finding = inhibited(&["physical_id_too_big"], &[x2apic(0), x2apic(600)], rules).unwrap();
    assert_eq!(numbers(&finding), [600]);
}

#[test]
fn what_was_never_on_is_not_lost() {
    let vcpus = [flat(0, 1), flat(1, 1)];
    let rules = MapRules::ConflictDisables;
    assert_eq!(inhibited(&[], &vcpus, rules), None);
    assert_eq!(
        inhibited(&["disabled", "logical_id_aliased"], &vcpus, rules),
        None
    );
    assert_eq!(inhibited(&["irqwin", "nested"], &vcpus, rules), None);
}

#[test]
fn another_host_is_not_known_to_lose_anything() {
    let sample = VmSample {
        apicv_inhibits: Inhibits::from_iter([Inhibit::named("logical_id_aliased")]),
        ..sample(1, vec![flat(0, 1), flat(1, 1)], MapRules::ConflictDisables)
    };
    let here = host_with(sample.clone(), MapRules::ConflictDisables);
    let rules_of = |host: &crate::host::Host| -> Vec<Rule> {
        judge(only_vm(host))
            .iter()
            .map(|finding| finding.key.rule)
            .collect()
    };
    assert!(rules_of(&here).contains(&Rule::ApicvInhibited));
    let mut there = crate::host::Host::new([MapRules::ConflictDisables]).as_if(MapRules::ConflictDisables);
    there.apply(&crate::fixture::seen(crate::observation::Origin::Scan));
    there.apply(&crate::observation::Observation::Sample(sample));
    assert!(!rules_of(&there).contains(&Rule::ApicvInhibited));
}

#[test]
fn order_of_creation_does_not_matter_for_who_is_named() {
    let mut late = with_id(flat(0, 1), 7);
    late.idx = VcpuIdx(1);
    let mut first = flat(1, 2);
    first.idx = VcpuIdx(0);
    assert_eq!(numbers(&only(Rule::PhysicalAlias, &[first, late])), [0]);
}
