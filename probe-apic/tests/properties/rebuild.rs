//! The rebuilt map against KVM's own steps, and what the map rules have in common.

use std::collections::BTreeSet;

use probe_apic::{
    id::{VcpuId, VcpuIdx},
    map::{MapMode, RebuiltMap},
    map_rules::MapRules,
    observation::VcpuSample,
    rebuild::rebuild,
    reg::{Dfr, Ldr},
};
use proptest::prelude::*;

use crate::{
    naive,
    strategy::{Machine, any_machine, any_rules, derived_ldr, many},
};

fn map(machine: &Machine, rules: MapRules) -> Option<RebuiltMap> {
    rebuild(&machine.vcpus, machine.x2apic_format, rules).map
}

/// The entries of a map by the VMM's numbers, which do not depend on the order of creation.
fn by_vcpu_id(machine: &Machine, map: &RebuiltMap) -> (MapMode, BTreeSet<(u32, VcpuId)>) {
    let id = |idx: VcpuIdx| machine.vcpus[idx.0 as usize].id;
    let slots = map.slots.iter().map(|&(slot, idx)| {
        (
            0x1_0000 + u32::from(slot.cluster) * 8 + u32::from(slot.bit),
            id(idx),
        )
    });
    let physical = map.physical.iter().map(|&(apic_id, idx)| (apic_id.0, id(idx)));
    (map.mode, slots.chain(physical).collect())
}

fn in_reverse(machine: &Machine) -> Machine {
    let reversed = machine.vcpus.iter().rev().zip(0..);
    Machine {
        vcpus: reversed
            .map(|(vcpu, idx)| VcpuSample {
                idx: VcpuIdx(idx),
                ..*vcpu
            })
            .collect(),
        ..machine.clone()
    }
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn rebuilt_map_is_what_kvms_own_steps_make(machine in any_machine(), rules in any_rules()) {
        let by_kvm = naive::recalculate(&machine, rules).map(|map| map.in_the_models_terms());
        prop_assert_eq!(map(&machine, rules), by_kvm);
    }

    #[test]
    fn reason_is_given_exactly_where_kvm_gave_up(machine in any_machine(), rules in any_rules()) {
        let rebuilt = rebuild(&machine.vcpus, machine.x2apic_format, rules);
        let mode = rebuilt.map.as_ref().map(|map| map.mode);
        let gave_up = matches!(mode, None | Some(MapMode::Mixed | MapMode::Disabled));
        prop_assert_eq!(rebuilt.gave_up.is_some(), gave_up);
        if let Some(reason) = rebuilt.gave_up {
            let vcpu = machine.vcpus.iter().find(|vcpu| vcpu.idx == reason.vcpu);
            prop_assert!(vcpu.is_some_and(|vcpu| vcpu.lapic.hw_enabled()), "{:?}", reason);
        }
    }

    #[test]
    fn hardware_disabled_vcpus_leave_no_trace(machine in any_machine(), rules in any_rules()) {
        let mut without = machine.clone();
        without.vcpus.retain(|vcpu| vcpu.lapic.hw_enabled());
        prop_assert_eq!(map(&machine, rules), map(&without, rules));
    }

    #[test]
    fn logical_ids_of_software_disabled_vcpus_count_only_where_they_are_kept(machine in any_machine(), ldr: u32, dfr: u32) {
        let mut changed = machine.clone();
        for vcpu in changed.vcpus.iter_mut().filter(|vcpu| !vcpu.lapic.sw_enabled) {
            vcpu.lapic.ldr = Ldr(ldr);
            vcpu.lapic.dfr = Dfr(dfr);
        }
        for rules in [MapRules::Overwrite, MapRules::ConflictDisables] {
            prop_assert_eq!(map(&machine, rules), map(&changed, rules));
        }
    }

    #[test]
    fn rules_before_6_3_differ_in_software_disabled_vcpus_alone(mut machine in any_machine()) {
        for vcpu in &mut machine.vcpus {
            vcpu.lapic.sw_enabled = true;
        }
        prop_assert_eq!(map(&machine, MapRules::KeepDisabled), map(&machine, MapRules::Overwrite));
    }

    /// Known differences: an x2APIC without an LDR has a mode before 6.3 only, one with another's LDR an alias, and a
    /// large ID of an xAPIC a second place.
    #[test]
    fn map_without_conflicts_is_alike_before_and_after_6_3(mut machine in any_machine()) {
        for vcpu in &mut machine.vcpus {
            if vcpu.lapic.apic_base.x2apic() {
                vcpu.lapic.ldr = derived_ldr(vcpu.id);
            } else if vcpu.id.0 > 0xff {
                vcpu.lapic.apic_base.0 &= !(1 << 11);
            }
        }
        let Some(after) = map(&machine, MapRules::ConflictDisables).filter(|map| map.mode != MapMode::Disabled) else {
            return Ok(());
        };
        prop_assert_eq!(map(&machine, MapRules::Overwrite), Some(after));
    }

    #[test]
    fn order_of_creation_counts_only_where_vcpus_overwrite_each_other(machine in any_machine()) {
        let machine = Machine { x2apic_format: false, ..machine };
        let reversed = in_reverse(&machine);
        let rules = MapRules::ConflictDisables;
        let forwards = map(&machine, rules).map(|map| by_vcpu_id(&machine, &map));
        let backwards = map(&reversed, rules).map(|map| by_vcpu_id(&reversed, &map));
        prop_assert_eq!(forwards, backwards);
        for rules in [MapRules::KeepDisabled, MapRules::Overwrite] {
            let mode = |machine| map(machine, rules).map(|map| map.mode);
            prop_assert_eq!(mode(&machine), mode(&reversed));
        }
    }
}
