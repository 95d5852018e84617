//! One rule at a time, each provoked by guest code in a guest that is otherwise healthy.

use super::expect::{Expected, settles_at};
use super::{Bench, CaseResult, Context, require};
use crate::contract::{MapMode, Rule, Severity};
use crate::guest::lapic::{DFR_CLUSTER, DFR_FLAT, MSR_APIC_BASE, SVR_ENABLED, cluster_id};
use crate::guest::{Guest, Op, layout};
use crate::host::MapRules;
use crate::scenario;
use crate::tool::snapshot;

/// The severity of a finding that breaks destinations where the last vCPU overwrites a slot and merely slows them
/// under `conflict-disables`, while nothing is aimed at any.
fn unaimed(context: &Context) -> Severity {
    match context.rules {
        MapRules::KeepDisabled | MapRules::Overwrite => Severity::Warning,
        MapRules::ConflictDisables => Severity::Notice,
    }
}

/// `expected`, and `map-disabled` where a conflict disables the map.
fn with_disabled_map(context: &Context, mut expected: Vec<Expected>) -> Vec<Expected> {
    if context.rules == MapRules::ConflictDisables {
        expected.push(Expected::rule(Rule::MapDisabled).at_most(Severity::Notice));
    }
    expected
}

pub(super) fn cluster(context: &Context, bench: &mut Bench) -> CaseResult {
    let watch = bench.watch(context.hooks)?;
    let mut guest = scenario::clustered(6)?;
    settles_at(watch, None, &[])?;
    watch.require(
        watch.events().is_empty(),
        "well-formed clusters should raise nothing",
    )?;

    guest.write_logical_id(5, DFR_CLUSTER, cluster_id(4), SVR_ENABLED)?;
    let collision = Expected::collision(1, 0, [4, 5]).at(unaimed(context));
    settles_at(watch, None, &with_disabled_map(context, vec![collision]))?;

    guest.write_logical_id(5, DFR_CLUSTER, cluster_id(5), SVR_ENABLED)?;
    settles_at(watch, None, &[])?;
    Ok(())
}

pub(super) fn hardware_disabled(context: &Context, bench: &mut Bench) -> CaseResult {
    let watch = bench.watch(context.hooks)?;
    let mut guest = scenario::flat(4)?;
    guest.exec(3, &[Op::Wrmsr(MSR_APIC_BASE, u64::from(layout::LAPIC))])?;
    let left_over = Expected::rule(Rule::LdrStale).on([3]).at_most(Severity::Notice);
    settles_at(watch, None, &[left_over])?;
    Ok(())
}

pub(super) fn mode_mixed(context: &Context, bench: &mut Bench) -> CaseResult {
    let watch = bench.watch(context.hooks)?;
    let mut guest = Guest::with_vcpus(4)?;
    for (id, logical_id) in [(0, 0x01), (1, 0x02)] {
        guest.write_logical_id(id, DFR_FLAT, logical_id, SVR_ENABLED)?;
    }
    for (id, logical_id) in [(2, 0x11), (3, 0x12)] {
        guest.write_logical_id(id, DFR_CLUSTER, logical_id, SVR_ENABLED)?;
    }
    // Every generation scans for a mixed guest.
    let expected = [Expected::rule(Rule::ModeMixed), Expected::rule(Rule::MapDisabled)];
    settles_at(
        watch,
        None,
        &expected.map(|expected| expected.at_most(Severity::Notice)),
    )?;
    Ok(())
}

pub(super) fn dfr_invalid(context: &Context, bench: &mut Bench) -> CaseResult {
    /// Model 0101: KVM's map takes it for cluster (arch/x86/kvm/lapic.c, kvm_recalculate_logical_map), the
    /// architecture matches nothing by it.
    const DFR_ODD: u32 = 0x5FFF_FFFF;
    let watch = bench.watch(context.hooks)?;
    let mut guest = Guest::with_vcpus(2)?;
    for (id, logical_id) in [(0, 0x11), (1, 0x12)] {
        guest.write_logical_id(id, DFR_ODD, logical_id, SVR_ENABLED)?;
    }
    settles_at(
        watch,
        None,
        &[Expected::rule(Rule::DfrInvalid).on([0, 1]).at(Severity::Warning)],
    )?;
    Ok(())
}

pub(super) fn multi_bit(context: &Context, bench: &mut Bench) -> CaseResult {
    let watch = bench.watch(context.hooks)?;
    let guest = scenario::flat_with(&[0x01, 0x02, 0x0C])?;
    let multi_bit = Expected::rule(Rule::LdrMultiBit).on([2]).at(unaimed(context));
    settles_at(watch, None, &with_disabled_map(context, vec![multi_bit]))?;
    drop(guest);
    settles_at(watch, None, &[])?;
    Ok(())
}

pub(super) fn ldr_unset(context: &Context, bench: &mut Bench) -> CaseResult {
    let watch = bench.watch(context.hooks)?;
    let mut guest = scenario::flat_with(&[0x01, 0x02, 0x00])?;
    settles_at(
        watch,
        None,
        &[Expected::rule(Rule::LdrUnset).on([2]).at_most(Severity::Warning)],
    )?;
    guest.write_logical_id(2, DFR_FLAT, 0x04, SVR_ENABLED)?;
    settles_at(watch, None, &[])?;
    Ok(())
}

pub(super) fn map_disabled(context: &Context, bench: &mut Bench) -> CaseResult {
    let watch = bench.watch(context.hooks)?;
    let mut guest = scenario::flat(3)?;
    guest.write_logical_id(2, DFR_FLAT, 0x02, SVR_ENABLED)?;
    let collision = Expected::collision(0, 1, [1, 2]);
    let disabled = Expected::rule(Rule::MapDisabled)
        .on([2])
        .at_most(Severity::Notice);
    settles_at(watch, None, &[collision, disabled])?;
    let vms = snapshot(&[])?.vms;
    let modes: Vec<_> = vms
        .iter()
        .map(|vm| vm.map.published.as_ref().map(|map| map.mode))
        .collect();
    require(modes == [Some(MapMode::Disabled)], || {
        format!("the published map should be disabled: {modes:?}")
    })
}
