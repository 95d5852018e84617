//! A VM loses AVIC to its IDs: what KVM's own reasons are, who is named for them, and that both end together. KVM keeps
//! them where kvm-amd was told to use AVIC, whatever the processor has; guests do not run there, so that every change
//! comes by `KVM_SET_LAPIC` or `KVM_SET_SREGS`.

use super::attribution::{has_cause, raised};
use super::expect::{Expected, settles_at};
use super::{Bench, CaseError, CaseResult, Context, require};
use crate::contract::{Register, Route, Rule, Severity};
use crate::guest::lapic::{ApicReg, DFR_FLAT, SVR_ENABLED, ldr};
use crate::guest::{Guest, GuestError};
use crate::host::MapRules;
use crate::tool::{Outcome, command, run_to_end, snapshot};

const ID_MODIFIED: &str = "apic_id_modified";
const BASE_MODIFIED: &str = "apic_base_modified";
const LOGICAL_ALIASED: &str = "logical_id_aliased";
const PHYSICAL_ALIASED: &str = "physical_id_aliased";

/// Whose register is changed.
const VCPU: u32 = 2;

/// Three enabled flat vCPUs that never run.
fn healthy() -> Result<Guest, GuestError> {
    let guest = Guest::with_vcpus(VCPU + 1)?;
    for id in 0..=VCPU {
        let registers = [
            (ApicReg::Dfr, DFR_FLAT),
            (ApicReg::Ldr, ldr(1 << id)),
            (ApicReg::Svr, SVR_ENABLED),
        ];
        guest.edit_lapic(id, &registers)?;
    }
    Ok(guest)
}

fn inhibited() -> Expected {
    Expected::rule(Rule::ApicvInhibited).at(Severity::Warning)
}

/// `auto` is the default, and takes the precise hooks where AVIC keeps their functions quiet.
pub(super) fn auto(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let Outcome { stderr, .. } = run_to_end(command(&["watch", "--duration", "1s"]))?;
    require(stderr.contains("hooks precise"), || {
        format!("watch should take the precise hooks; stderr: {stderr}")
    })?;
    let Outcome { stdout, .. } = run_to_end(command(&["doctor"]))?;
    require(stdout.contains("auto takes precise"), || {
        format!("doctor should say that auto takes precise; stdout: {stdout}")
    })
}

pub(super) fn logical_alias(context: &Context, bench: &mut Bench) -> CaseResult {
    let (before, after) = (ldr(1 << VCPU), ldr(1));
    let watch = bench.watch(context.hooks)?;
    let guest = healthy()?;
    settles_at(watch, None, &[])?;
    kept(&[])?;

    guest.edit_lapic(VCPU, &[(ApicReg::Ldr, after)])?;
    let expected = [
        Expected::collision(0, 0, [0, VCPU]),
        Expected::rule(Rule::MapDisabled),
        inhibited().on([VCPU]),
    ];
    settles_at(watch, None, &expected)?;
    kept(&[LOGICAL_ALIASED])?;
    let finding = raised(watch, Rule::ApicvInhibited)?;
    has_cause(
        watch,
        &finding,
        Route::SetLapic,
        VCPU,
        Register::Ldr,
        before,
        after,
    )?;

    guest.edit_lapic(VCPU, &[(ApicReg::Ldr, before)])?;
    settles_at(watch, None, &[])?;
    kept(&[])
}

/// An ID that nobody else has, then one that another has.
pub(super) fn changed_id(context: &Context, bench: &mut Bench) -> CaseResult {
    let own = VCPU << 24;
    let (free, taken) = (9 << 24, 1 << 24);
    let watch = bench.watch(context.hooks)?;
    let guest = healthy()?;
    settles_at(watch, None, &[])?;
    kept(&[])?;

    guest.edit_lapic(VCPU, &[(ApicReg::Id, free)])?;
    let alias = || Expected::rule(Rule::PhysicalAlias);
    settles_at(watch, None, &[alias().on([VCPU]), inhibited().on([VCPU])])?;
    kept(&[ID_MODIFIED])?;
    let finding = raised(watch, Rule::ApicvInhibited)?;
    has_cause(watch, &finding, Route::SetLapic, VCPU, Register::Id, own, free)?;

    guest.edit_lapic(VCPU, &[(ApicReg::Id, taken)])?;
    let mut expected = vec![alias().on([1, VCPU]), inhibited().on([VCPU])];
    if context.rules == MapRules::ConflictDisables {
        expected.push(Expected::rule(Rule::MapDisabled).on([VCPU]));
    }
    settles_at(watch, None, &expected)?;
    match context.rules {
        MapRules::KeepDisabled | MapRules::Overwrite => kept(&[ID_MODIFIED])?,
        MapRules::ConflictDisables => kept(&[PHYSICAL_ALIASED, ID_MODIFIED, LOGICAL_ALIASED])?,
    }

    guest.edit_lapic(VCPU, &[(ApicReg::Id, own)])?;
    match context.rules {
        // Before 6.3 KVM does not forget: nobody is to blame any more, and AVIC stays lost.
        MapRules::KeepDisabled | MapRules::Overwrite => {
            settles_at(watch, None, &[inhibited().on([])])?;
            kept(&[ID_MODIFIED])
        }
        MapRules::ConflictDisables => {
            settles_at(watch, None, &[])?;
            kept(&[])
        }
    }
}

/// A register page that was moved is not forgotten by any KVM.
pub(super) fn moved_base(context: &Context, bench: &mut Bench) -> CaseResult {
    const ELSEWHERE: u64 = 0xFED0_0000;
    let watch = bench.watch(context.hooks)?;
    let guest = healthy()?;
    settles_at(watch, None, &[])?;

    let own = guest.apic_base(VCPU)?;
    let moved = (own & 0xFFF) | ELSEWHERE;
    guest.set_apic_base(VCPU, moved)?;
    settles_at(watch, None, &[inhibited().on([VCPU])])?;
    kept(&[BASE_MODIFIED])?;
    let finding = raised(watch, Rule::ApicvInhibited)?;
    has_cause(
        watch,
        &finding,
        Route::ApicBase,
        VCPU,
        Register::ApicBase,
        own,
        moved,
    )?;

    guest.set_apic_base(VCPU, own)?;
    settles_at(watch, None, &[inhibited().on([])])?;
    kept(&[BASE_MODIFIED])
}

/// Holds that KVM keeps exactly these reasons for the one VM, and that its maps agree.
fn kept(reasons: &[&str]) -> Result<(), CaseError> {
    let snapshot = snapshot(&[])?;
    let got: Vec<_> = snapshot.vms.iter().map(|vm| &vm.apicv.inhibits).collect();
    require(got == [reasons], || {
        format!("KVM should keep {reasons:?}, keeps {got:?}")
    })?;
    require(snapshot.vms.iter().all(|vm| vm.map.agrees == Some(true)), || {
        format!("published and rebuilt map should agree: {:#?}", snapshot.vms)
    })
}
