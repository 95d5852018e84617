//! IDs that are not the vCPUs' own: two vCPUs under one physical APIC ID, and an x2APIC restored from another's state.

use super::expect::{Expected, settles_at};
use super::{Bench, CaseResult, Context, require};
use crate::contract::{Rule, Severity};
use crate::guest::Guest;
use crate::guest::lapic::{APIC_BASE_ENABLED, APIC_BASE_X2APIC, ApicReg, SVR_ENABLED};
use crate::guest::layout;
use crate::host::MapRules;
use crate::scenario;
use crate::tool::snapshot;

pub(super) fn physical_alias(context: &Context, bench: &mut Bench) -> CaseResult {
    let watch = bench.watch(context.hooks)?;
    let guest = scenario::physical_flat(3)?;
    settles_at(watch, None, &[])?;

    // KVM delivers to one of them alone, or gives up the whole map.
    guest.edit_lapic(2, &[(ApicReg::Id, 1 << 24)])?;
    let alias = Expected::rule(Rule::PhysicalAlias).on([1, 2]);
    let expected = match context.rules {
        MapRules::KeepDisabled | MapRules::Overwrite => vec![alias.at(Severity::Warning)],
        MapRules::ConflictDisables => vec![
            alias.at(Severity::Notice),
            Expected::rule(Rule::MapDisabled).on([2]),
        ],
    };
    settles_at(watch, None, &expected)?;

    guest.edit_lapic(2, &[(ApicReg::Id, 2 << 24)])?;
    settles_at(watch, None, &[])?;
    Ok(())
}

/// Before KVM made the x2APIC ID read-only, an ID of 8 bits came in with `KVM_SET_LAPIC` and brought its LDR along
/// (arch/x86/kvm/lapic.c, `kvm_apic_state_fixup`).
pub(super) fn x2apic_mismatch(context: &Context, bench: &mut Bench) -> CaseResult {
    const VCPU: u32 = 1;
    const ANOTHERS: u32 = 5;
    let watch = bench.watch(context.hooks)?;
    let guest = Guest::with_vcpus(2)?;
    for id in 0..2 {
        let mode = APIC_BASE_ENABLED | APIC_BASE_X2APIC;
        guest.set_apic_base(id, u64::from(layout::LAPIC) | mode)?;
        guest.edit_lapic(id, &[(ApicReg::Svr, SVR_ENABLED)])?;
    }
    settles_at(watch, None, &[])?;

    guest.edit_lapic(VCPU, &[(ApicReg::Id, ANOTHERS << 24)])?;
    let mismatch = Expected::rule(Rule::X2apicIdMismatch).on([VCPU]);
    settles_at(watch, None, &[mismatch.at(Severity::Warning)])?;
    let vms = snapshot(&[])?.vms;
    let ids: Vec<_> = vms
        .iter()
        .flat_map(|vm| &vm.vcpus)
        .map(|vcpu| (vcpu.vcpu_id, vcpu.apic_id, vcpu.ldr))
        .collect();
    require(ids == [(0, 0, 1), (VCPU, ANOTHERS, 1 << ANOTHERS)], || {
        format!("vCPU {VCPU} should hold the ID and the LDR of {ANOTHERS}: {ids:x?}")
    })?;
    require(vms.iter().all(|vm| vm.map.agrees == Some(true)), || {
        format!("published and rebuilt map should agree: {vms:#?}")
    })?;

    guest.edit_lapic(VCPU, &[(ApicReg::Id, VCPU << 24)])?;
    settles_at(watch, None, &[])?;
    Ok(())
}
