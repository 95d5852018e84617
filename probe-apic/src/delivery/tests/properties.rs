//! Properties of delivery: the table and the single destination are written apart from each other and must agree.

use proptest::prelude::*;

use super::*;
use crate::{
    fixture::{vcpu, x2apic},
    reg::Svr,
};

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

/// Any state, with any map that a KVM may have of it.
fn any_fabric() -> impl Strategy<Value = (Vec<VcpuSample>, Option<RebuiltMap>, MapRules, [bool; 2])> {
    (any_vcpus(), any_rules(), any::<[bool; 3]>()).prop_map(
        |(vcpus, rules, [x2apic_format, quirk_disabled, null])| {
            let map = rebuild(&vcpus, x2apic_format, rules).map.filter(|_| !null);
            (vcpus, map, rules, [x2apic_format, quirk_disabled])
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn table_says_what_each_destination_says(
        (vcpus, map, rules, [x2apic_format, broadcast_quirk_disabled]) in any_fabric(),
        physical: bool,
    ) {
        let map = map.as_ref();
        let fabric = Fabric { x2apic_format, broadcast_quirk_disabled, ..fabric(&vcpus, map, rules) };
        let mode = if physical { DestinationMode::Physical } else { DestinationMode::Logical };
        let table = Deliveries::compute(&fabric, mode);
        for number in 0..=u8::MAX {
            let dest = Destination { mode, id: u32::from(number) };
            prop_assert_eq!(table.to(number), &fabric.deliver(dest, DeliveryMode::Fixed));
        }
    }

    #[test]
    fn lowest_priority_picks_one_of_those_whom_fixed_reaches_and_every_one_by_some_vector(
        (vcpus, map, rules, [x2apic_format, broadcast_quirk_disabled]) in any_fabric(),
        physical: bool,
        dest in prop_oneof![0_u32..256, any::<u32>()],
    ) {
        let map = map.as_ref();
        let fabric = Fabric { x2apic_format, broadcast_quirk_disabled, ..fabric(&vcpus, map, rules) };
        let mode = if physical { DestinationMode::Physical } else { DestinationMode::Logical };
        let dest = Destination { mode, id: dest };
        let fixed = fabric.deliver(dest, DeliveryMode::Fixed);
        let mut picked = VcpuSet::new();
        for vector in 0..=u8::MAX {
            let delivery = fabric.deliver(dest, lowest(vector));
            prop_assert!(delivery.kvm.len() <= 1 || dest.is_broadcast());
            prop_assert!(delivery.verdict != Verdict::Partial);
            prop_assert_eq!((&delivery.architecture, delivery.scanned), (&fixed.architecture, fixed.scanned));
            picked.union_with(&delivery.kvm);
        }
        prop_assert_eq!(picked, fixed.kvm);
    }
}
