//! Each rule by itself: whom it names, and whom it leaves alone.

use super::*;
use crate::{
    finding::Severity,
    fixture::{cluster, disable, flat, host_with, only_vm, sample, vcpu, with, x2apic},
    id::VcpuIdx,
    map_rules::MapRules,
    observation::VmSample,
    reg::{ApicBase, Dfr, Ldr},
};

mod ids;

fn judged(sample: VmSample, rules: MapRules) -> Vec<Finding> {
    judge(only_vm(&host_with(sample, rules)))
}

/// The findings of `rule`, under every set of map rules alike: what is wrong does not depend on KVM.
fn of(rule: Rule, vcpus: &[VcpuSample]) -> Vec<Finding> {
    let mut all = MapRules::ALL.map(|rules| {
        let found = judged(sample(1, vcpus.to_vec(), rules), rules);
        found
            .into_iter()
            .filter(|finding| finding.key.rule == rule)
            .collect::<Vec<_>>()
    });
    let members = |found: &[Finding]| -> Vec<_> {
        found
            .iter()
            .map(|finding| (finding.key, finding.vcpus.clone(), finding.slots.clone()))
            .collect()
    };
    assert_eq!(members(&all[0]), members(&all[1]));
    assert_eq!(members(&all[1]), members(&all[2]));
    std::mem::take(&mut all[1])
}

fn only(rule: Rule, vcpus: &[VcpuSample]) -> Finding {
    let mut found = of(rule, vcpus);
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
}

fn numbers(finding: &Finding) -> Vec<u32> {
    finding.vcpus.iter().map(|id| id.0).collect()
}

fn hw_disabled(vcpu: VcpuSample) -> VcpuSample {
    with(vcpu, |lapic| lapic.apic_base = ApicBase(0xfee0_0000))
}

#[test]
fn table_has_a_row_for_every_rule_in_their_order() {
    assert_eq!(TABLE.map(|row| row.rule), Rule::ALL);
}

#[test]
fn multi_bit_is_read_by_the_model_and_of_enabled_xapics_only() {
    let vcpus = [
        flat(0, 0x03),
        with(flat(1, 0x0c), disable),
        flat(2, 0x10),
        x2apic(3),
    ];
    let finding = only(Rule::LdrMultiBit, &vcpus);
    assert_eq!(numbers(&finding), [0]);
    assert_eq!(
        finding.slots,
        [Slot { cluster: 0, bit: 0 }, Slot { cluster: 0, bit: 1 }]
    );
    // 0x31 is one slot of cluster 3, 0x33 are two.
    assert_eq!(
        numbers(&only(Rule::LdrMultiBit, &[cluster(0, 0x31), cluster(1, 0x33)])),
        [1]
    );
    assert_eq!(of(Rule::LdrMultiBit, &[cluster(0, 0x31), cluster(1, 0x32)]), []);
}

#[test]
fn collision_is_one_finding_a_slot() {
    let found = of(
        Rule::LdrCollision,
        &[
            cluster(0, 0x21),
            cluster(1, 0x23),
            cluster(2, 0x22),
            cluster(3, 0x31),
        ],
    );
    let slots: Vec<_> = found
        .iter()
        .map(|finding| (finding.slots.clone(), numbers(finding)))
        .collect();
    let slot = |bit| vec![Slot { cluster: 2, bit }];
    assert_eq!(slots, [(slot(0), vec![0, 1]), (slot(1), vec![1, 2])]);
    assert!(
        found[0]
            .summary
            .starts_with("slot 2.0 (cluster 2, bit 0) is claimed by vCPU 0 (LDR 0x21000000)")
    );
}

#[test]
fn disabled_and_x2apic_vcpus_claim_nothing() {
    assert_eq!(
        of(Rule::LdrCollision, &[flat(0, 1), with(flat(1, 1), disable)]),
        []
    );
    assert_eq!(of(Rule::LdrCollision, &[flat(0, 1), hw_disabled(flat(1, 1))]), []);
    assert_eq!(of(Rule::LdrCollision, &[flat(0, 1), x2apic(16)]), []);
}

#[test]
fn flat_bit_and_slot_of_a_cluster_are_different_slots() {
    assert_eq!(of(Rule::LdrCollision, &[flat(0, 1), cluster(1, 1)]), []);
    let both = [flat(0, 1), cluster(1, 1), flat(2, 1), cluster(3, 1)];
    let finding = only(Rule::LdrCollision, &both);
    assert_eq!(numbers(&finding), [0, 1, 2, 3]);
    assert_eq!(finding.slots, [Slot { cluster: 0, bit: 0 }]);
}

#[test]
fn members_are_listed_by_id_whatever_their_order_of_creation() {
    let mut vcpus = [flat(9, 1), flat(4, 1)];
    vcpus[0].idx = VcpuIdx(0);
    vcpus[1].idx = VcpuIdx(1);
    let finding = only(Rule::LdrCollision, &vcpus);
    assert_eq!(numbers(&finding), [4, 9]);
    let evidence: Vec<u32> = finding
        .evidence
        .iter()
        .map(|evidence| evidence.vcpu_id.0)
        .collect();
    assert_eq!(evidence, [4, 9]);
    assert!(
        finding
            .summary
            .contains("KVM delivers to vCPU 4 (LDR 0x01000000) alone"),
        "{}",
        finding.summary
    );
}

#[test]
fn stale_ldr_is_a_logical_id_on_a_disabled_xapic() {
    let vcpus = [
        flat(0, 1),
        with(flat(1, 2), disable),
        hw_disabled(flat(2, 4)),
        vcpu(3),
        with(x2apic(4), disable),
    ];
    let finding = only(Rule::LdrStale, &vcpus);
    assert_eq!(numbers(&finding), [1, 2]);
    assert!(!finding.suspected);
    // What an x2APIC leaves behind has no logical ID.
    let left = with(vcpu(1), |lapic| lapic.ldr = Ldr(0x0000_0002));
    assert_eq!(of(Rule::LdrStale, &[flat(0, 1), left]), []);
}

#[test]
fn unset_ldr_is_told_only_where_others_claim_slots() {
    assert_eq!(of(Rule::LdrUnset, &[flat(0, 0), flat(1, 0)]), []);
    assert_eq!(of(Rule::LdrUnset, &[flat(0, 0), x2apic(1)]), []);
    assert_eq!(
        numbers(&only(Rule::LdrUnset, &[flat(0, 0), flat(1, 1), vcpu(2)])),
        [0]
    );
    // A cluster without a bit names no slot either.
    assert_eq!(
        numbers(&only(Rule::LdrUnset, &[cluster(0, 0x11), cluster(1, 0x20)])),
        [1]
    );
}

#[test]
fn mixed_modes_name_every_enabled_vcpu() {
    let finding = only(
        Rule::ModeMixed,
        &[flat(0, 0), flat(1, 0), x2apic(2), with(cluster(3, 1), disable)],
    );
    assert_eq!(numbers(&finding), [0, 1, 2]);
    let expected = "enabled vCPUs differ in mode: vCPUs 0 and 1 are flat and vCPU 2 is x2APIC";
    assert_eq!(finding.summary, expected);
    assert_eq!(of(Rule::ModeMixed, &[flat(0, 1), flat(1, 2), vcpu(2)]), []);
}

#[test]
fn dfr_is_valid_as_a_whole_or_not_at_all() {
    let odd = |number, dfr| with(flat(number, 1 << number), |lapic| lapic.dfr = Dfr(dfr));
    let vcpus = [
        odd(0, 0x5fff_ffff),
        flat(1, 2),
        odd(2, 0xf000_0000),
        with(odd(3, 0), disable),
    ];
    let finding = only(Rule::DfrInvalid, &vcpus);
    assert_eq!(numbers(&finding), [0, 2, 3]);
    assert!(
        finding
            .summary
            .starts_with("vCPU 0 (DFR 0x5fffffff), vCPU 2 (DFR 0xf0000000) and vCPU 3")
    );
    assert_eq!(
        of(Rule::DfrInvalid, &[with(x2apic(0), |lapic| lapic.dfr = Dfr(7))]),
        []
    );
}

#[test]
fn interrupts_to_an_odd_dfr_are_misrouted() {
    let odd = with(flat(0, 0x11), |lapic| lapic.dfr = Dfr(0x5fff_ffff));
    let finding = only(Rule::DfrInvalid, &[odd]);
    assert_eq!(
        (finding.severity, finding.effect.misrouted),
        (Severity::Warning, 8)
    );
}

#[test]
fn disabled_map_names_vcpu_and_register_by_generation() {
    let rules = MapRules::ConflictDisables;
    let map_disabled = |vcpus: Vec<VcpuSample>, rules| {
        judged(sample(1, vcpus, rules), rules)
            .into_iter()
            .find(|f| f.key.rule == Rule::MapDisabled)
    };
    let taken = map_disabled(vec![flat(0, 1), flat(1, 1)], rules).unwrap();
    assert_eq!(numbers(&taken), [1]);
    let expected = "KVM has no optimised logical map, since vCPU 1 (LDR 0x01000000) names slot 0 (flat bit 0), \
                    as vCPU 0 does: every logical interrupt scans all 2 vCPUs";
    assert_eq!(taken.summary, expected);
    assert_eq!(
        map_disabled(vec![flat(0, 1), flat(1, 1)], MapRules::Overwrite),
        None
    );

    let mixed = map_disabled(vec![flat(0, 1), x2apic(1)], MapRules::Overwrite).unwrap();
    assert_eq!(mixed.cause.unwrap().register, Some(Register::ApicBase));

    let doubled = vec![vcpu(0), with(vcpu(1), |lapic| lapic.id = 0)];
    let null = map_disabled(doubled, rules).unwrap();
    assert!(
        null.summary
            .starts_with("KVM has no map at all, since vCPU 1 has the physical APIC ID 0")
    );
    assert_eq!(null.cause.unwrap().register, Some(Register::Id));
}

#[test]
fn map_mixed_by_disabled_apics_alone_is_no_finding() {
    let rules = MapRules::KeepDisabled;
    let vcpus = vec![with(flat(0, 1), disable), with(cluster(1, 1), disable)];
    let found = judged(sample(1, vcpus, rules), rules);
    assert!(
        found.iter().all(|finding| finding.key.rule != Rule::MapDisabled),
        "{found:#?}"
    );
}

#[test]
fn thousand_vcpus_are_judged_and_summed_up_in_short() {
    let vcpus: Vec<_> = (0..1024).map(|number| flat(number, number % 256)).collect();
    for rules in MapRules::ALL {
        for finding in judged(sample(1, vcpus.clone(), rules), rules) {
            assert!(finding.summary.len() < 400, "{}", finding.summary);
        }
    }
}
