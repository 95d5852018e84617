//! Real interrupts: told to have gone astray exactly where the delivery that they met is broken.

use probe_apic::{
    delivery::{DeliveryMode, Destination, Verdict},
    finding::{Rule, Severity},
    host::Host,
    id::{BootTime, VmId},
    observation::{Observation, Sent},
    rules::judge,
};
use proptest::prelude::*;

use crate::{
    judgement::sample,
    strategy::{any_machine, any_rules, config},
};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn an_interrupt_is_told_where_its_delivery_is_broken_and_nowhere_else(
        machine in any_machine(),
        rules in any_rules(),
        dest in 0_u8..255,
        vector in 0x10..=u8::MAX,
        lowest_priority in any::<bool>(),
        recalculations in 0_u64..3,
    ) {
        const VM: VmId = VmId(1);
        let sample = sample(&machine, rules, Vec::new());
        let met = sample.recalculations;
        let mut host = Host::new([rules]).picking_by_vector(true);
        host.apply(&Observation::Sample(sample));
        let sent = Sent {
            vm: VM,
            from: BootTime(2),
            until: BootTime(3),
            recalculations,
            dest: dest.into(),
            vector,
            lowest_priority,
            count: 7,
        };
        let news = host.apply(&Observation::Sent(sent));
        let vm = host.vm(&VM).unwrap();
        let mode = if lowest_priority { DeliveryMode::LowestPriority { vector } } else { DeliveryMode::Fixed };
        let verdict = vm.fabric().unwrap().deliver(Destination::logical(dest.into()), mode).verdict;
        let findings = judge(vm).into_iter();
        let told: Vec<_> = findings
            .filter(|finding| matches!(finding.key.rule, Rule::InterruptLost | Rule::InterruptMisrouted))
            .map(|finding| (finding.key.rule, finding.severity))
            .collect();
        let expected = match verdict {
            _ if recalculations != met => None,
            Verdict::Lost => Some((Rule::InterruptLost, Severity::Critical)),
            Verdict::Misrouted | Verdict::Partial => Some((Rule::InterruptMisrouted, Severity::Critical)),
            Verdict::Ok | Verdict::Slow => None,
        };
        prop_assert_eq!(&told, &Vec::from_iter(expected));
        prop_assert_eq!(news.is_some(), !told.is_empty());
        let counted = host.interrupts();
        prop_assert_eq!(counted.judged + counted.unjudged, 7);
        prop_assert_eq!(counted.judged == 7, recalculations == met);
    }
}
