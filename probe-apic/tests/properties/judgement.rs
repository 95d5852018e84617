//! What a judgement of any VM is like: ordered, bounded, and the same for the same registers.

use std::collections::BTreeSet;

use probe_apic::{
    aim::{Aim, AimSource},
    apicv::Inhibits,
    finding::{Finding, Rule, Severity},
    host::Host,
    id::{BootTime, VmId},
    map_rules::MapRules,
    observation::{Irqchip, Observation, VmSample},
    rebuild::rebuild,
    rules::judge,
};
use proptest::{collection::vec, prelude::*};

use crate::{
    consequences::consequences,
    strategy::{Machine, any_machine, any_rules, config},
};

const VM: VmId = VmId(1);

/// A read of `machine` as KVM under `rules` would have it.
pub(crate) fn sample(machine: &Machine, rules: MapRules, aims: Vec<Aim>) -> VmSample {
    VmSample {
        vm: VM,
        at: BootTime(1),
        trigger: BootTime(1),
        published: rebuild(&machine.vcpus, machine.x2apic_format, rules).map,
        vcpus: machine.vcpus.clone(),
        mapped_vcpus: None,
        recalculations: 1,
        consistent: true,
        irqchip: Irqchip::Kernel,
        x2apic_format: machine.x2apic_format,
        broadcast_quirk_disabled: machine.broadcast_quirk_disabled,
        apicv_inhibits: Inhibits::NONE,
        aims,
    }
}

fn findings(sample: VmSample, rules: MapRules) -> Vec<Finding> {
    let mut host = Host::new([rules]);
    host.apply(&Observation::Sample(sample));
    host.vm(&VM).map(judge).unwrap_or_default()
}

/// The rules whose findings are touched by what names their slots or reaches their vCPUs, and by nothing else.
const ONE_BY_ONE: [Rule; 8] = [
    Rule::LdrMultiBit,
    Rule::LdrCollision,
    Rule::LdrStale,
    Rule::LdrUnset,
    Rule::ModeMixed,
    Rule::DfrInvalid,
    Rule::X2apicIdMismatch,
    Rule::PhysicalAlias,
];

fn any_aims() -> impl Strategy<Value = Vec<Aim>> {
    let aim = (any::<u8>(), 0x10..=u8::MAX, any::<bool>(), any::<bool>());
    let aim = aim.prop_map(|(dest, vector, logical, lowest_priority)| Aim {
        source: AimSource::Ioapic,
        index: 2,
        dest: u32::from(dest),
        vector,
        logical,
        lowest_priority,
    });
    vec(aim, 0..3)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn findings_are_ordered_bounded_and_backed_by_registers(
        machine in any_machine(),
        rules in any_rules(),
        aims in any_aims(),
    ) {
        let found = findings(sample(&machine, rules, aims), rules);
        let keys: Vec<_> = found.iter().map(|finding| finding.key).collect();
        prop_assert!(keys.is_sorted_by(|one, next| one < next), "{:?}", keys);
        for finding in &found {
            prop_assert!(finding.vcpus.is_sorted_by(|one, next| one < next), "{:?}", finding);
            prop_assert!(finding.slots.is_sorted_by(|one, next| one < next), "{:?}", finding);
            prop_assert!(finding.effect.broken() <= 255, "{:?}", finding);
            prop_assert_eq!(finding.evidence.len(), finding.vcpus.len());
            for (evidence, id) in finding.evidence.iter().zip(&finding.vcpus) {
                let vcpu = machine.vcpus.iter().find(|vcpu| vcpu.id == *id);
                prop_assert_eq!(vcpu.map(|vcpu| vcpu.lapic), Some(evidence.lapic));
            }
        }
    }

    #[test]
    fn map_of_the_hosts_own_rules_never_diverges(machine in any_machine(), rules in any_rules()) {
        let found = findings(sample(&machine, rules, Vec::new()), rules);
        prop_assert!(found.iter().all(|finding| finding.key.rule != Rule::MapDivergence));
    }

    #[test]
    fn only_what_is_aimed_at_is_critical(machine in any_machine(), rules in any_rules()) {
        let found = findings(sample(&machine, rules, Vec::new()), rules);
        prop_assert!(found.iter().all(|finding| finding.severity < Severity::Critical), "{:?}", found);
    }

    #[test]
    fn effect_counts_each_destination_that_touches_a_finding(
        machine in any_machine(),
        rules in any_rules(),
        aims in any_aims(),
    ) {
        let mut host = Host::new([rules]);
        host.apply(&Observation::Sample(sample(&machine, rules, aims.clone())));
        let vm = host.vm(&VM).expect("it was read");
        let fabric = vm.fabric().expect("the rules are known");
        for finding in judge(vm).iter().filter(|finding| ONE_BY_ONE.contains(&finding.key.rule)) {
            let (effect, critical) = consequences(&fabric, finding, &aims);
            prop_assert_eq!(finding.effect, effect, "{:?}", finding);
            prop_assert_eq!(finding.severity == Severity::Critical, critical, "{:?}", finding);
        }
    }

    /// A source more can only make things worse, and changes nothing but how much they matter.
    #[test]
    fn aims_change_severities_alone(machine in any_machine(), rules in any_rules(), aims in any_aims()) {
        let unaimed = findings(sample(&machine, rules, Vec::new()), rules);
        let aimed = findings(sample(&machine, rules, aims), rules);
        prop_assert_eq!(unaimed.len(), aimed.len());
        for (unaimed, aimed) in unaimed.iter().zip(&aimed) {
            prop_assert_eq!(unaimed.key, aimed.key);
            prop_assert_eq!(unaimed.effect, aimed.effect);
            prop_assert_eq!(&unaimed.vcpus, &aimed.vcpus);
            prop_assert!(unaimed.severity <= aimed.severity);
        }
    }

    /// "What would another KVM do" is what that KVM does.
    #[test]
    fn judging_as_if_is_judging_there(machine in any_machine(), here in any_rules(), there in any_rules()) {
        let mut host = Host::new([here]).as_if(there);
        host.apply(&Observation::Sample(sample(&machine, here, Vec::new())));
        let asked = host.vm(&VM).map(judge).unwrap_or_default();
        let facts = |found: Vec<Finding>| -> BTreeSet<_> {
            found.into_iter().map(|finding| (finding.key, finding.severity, finding.summary)).collect()
        };
        prop_assert_eq!(facts(asked), facts(findings(sample(&machine, there, Vec::new()), there)));
    }
}
