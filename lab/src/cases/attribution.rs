//! Who did it: each route by which a register changes, and what the cause of the finding says about it.

use super::expect::{Expected, settles_at};
use super::{Bench, CaseResult, Context, require};
use crate::contract::{Cause, EventKind, Finding, Register, Route, Rule};
use crate::guest::Op;
use crate::guest::lapic::{APIC_BASE_ENABLED, ApicReg, DFR_FLAT, MSR_APIC_BASE, SVR_ENABLED, ldr};
use crate::host::MapRules;
use crate::scenario;
use crate::tool::{ToolError, Watch};

const LDR_BEFORE: u32 = ldr(0x04);
const LDR_AFTER: u32 = ldr(0x02);

pub(super) fn set_lapic(context: &Context, bench: &mut Bench) -> CaseResult {
    let watch = bench.watch(context.hooks)?;
    let guest = scenario::flat(4)?;
    settles_at(watch, None, &[])?;
    guest.edit_lapic(2, &[(ApicReg::Ldr, LDR_AFTER)])?;
    caused_by(watch, Route::SetLapic)
}

pub(super) fn guest_write(context: &Context, bench: &mut Bench) -> CaseResult {
    let watch = bench.watch(context.hooks)?;
    let mut guest = scenario::flat(4)?;
    settles_at(watch, None, &[])?;
    guest.exec(2, &[Op::ApicWrite(ApicReg::Ldr, LDR_AFTER)])?;
    caused_by(watch, Route::GuestWrite)
}

/// vCPU 2 of a flat guest took slot 1 from vCPU 1 by `route`.
fn caused_by(watch: &mut Watch, route: Route) -> CaseResult {
    let raised = raised(watch, Rule::LdrCollision)?;
    watch.require(raised.vcpus == [1, 2], "the collision should be of vCPUs 1 and 2")?;
    has_cause(watch, &raised, route, 2, Register::Ldr, LDR_BEFORE, LDR_AFTER)
}

/// The first finding of `rule` that was raised.
pub(super) fn raised(watch: &mut Watch, rule: Rule) -> Result<Finding, ToolError> {
    let event = watch.wait_for_event(&format!("{rule:?} is raised"), 0, |event| {
        event.event == EventKind::Raised && event.finding.rule == rule
    })?;
    Ok(event.finding)
}

/// `finding` says for certain that `register` of vCPU `vcpu_id` went from `old` to `new` by `route`, in this thread.
pub(super) fn has_cause(
    watch: &Watch,
    finding: &Finding,
    route: Route,
    vcpu_id: u32,
    register: Register,
    old: impl Into<u64>,
    new: impl Into<u64>,
) -> CaseResult {
    let Some(cause) = &finding.cause else {
        return Ok(watch.require(false, &format!("{:?} should have a cause", finding.rule))?);
    };
    let wanted = Cause {
        route,
        vcpu_id: Some(vcpu_id),
        register: Some(register),
        old: Some(old.into()),
        new: Some(new.into()),
        certain: true,
        // Whoever ran the vCPU: this very thread. The instruction pointer is known to precise hooks at most.
        tid: Some(std::process::id()),
        comm: cause.comm.clone(),
        guest_rip: cause.guest_rip,
    };
    watch.require(
        *cause == wanted,
        &format!("the cause should be {wanted:?}, is {cause:?}"),
    )?;
    Ok(())
}

/// A guest disables one of its APICs in IA32_APIC_BASE and leaves the LDR.
pub(super) fn apic_base(context: &Context, bench: &mut Bench) -> CaseResult {
    const VCPU: u32 = 3;
    let watch = bench.watch(context.hooks)?;
    let mut guest = scenario::flat(4)?;
    settles_at(watch, None, &[])?;
    let before = guest.apic_base(VCPU)?;
    let after = before & !APIC_BASE_ENABLED;
    guest.exec(VCPU, &[Op::Wrmsr(MSR_APIC_BASE, after)])?;
    let stale = raised(watch, Rule::LdrStale)?;
    watch.require(
        stale.vcpus == [VCPU] && !stale.suspected,
        "vCPU 3 alone should be stale, beyond suspicion",
    )?;
    has_cause(
        watch,
        &stale,
        Route::ApicBase,
        VCPU,
        Register::ApicBase,
        before,
        after,
    )
}

/// INIT clears what made a vCPU collide. Once the vCPU names a slot again, all LDRs from before its INIT are suspect.
pub(super) fn init(context: &Context, bench: &mut Bench) -> CaseResult {
    let watch = bench.watch(context.hooks)?;
    let mut guest = scenario::flat(4)?;
    guest.write_logical_id(3, DFR_FLAT, 0x01, SVR_ENABLED)?;
    watch.wait_for("the collision is raised", crate::tool::PATIENCE, |standing| {
        standing
            .findings()
            .iter()
            .any(|finding| finding.collision_slot().is_some())
    })?;
    guest.send_init(1, 3)?;
    let after = guest.lapic(3)?.get(ApicReg::Ldr);
    require(after == 0, || {
        format!("INIT should clear the LDR of vCPU 3, which is {after:#010x}")
    })?;
    settles_at(watch, None, &[])?;
    watch.forget();

    // The vCPU lives on: its next collision is told like the first.
    guest.write_logical_id(3, DFR_FLAT, 0x02, SVR_ENABLED)?;
    let mut expected = vec![
        Expected::collision(0, 1, [1, 3]),
        Expected::rule(Rule::LdrStale).suspected().on([0, 1, 2]),
    ];
    if context.rules == MapRules::ConflictDisables {
        expected.push(Expected::rule(Rule::MapDisabled));
    }
    settles_at(watch, None, &expected)?;
    let collision = raised(watch, Rule::LdrCollision)?;
    watch.require(
        collision.cause.as_ref().is_some_and(|cause| {
            cause.route == Route::GuestWrite && cause.vcpu_id == Some(3) && cause.certain
        }),
        "the collision should be laid to vCPU 3's own write",
    )?;
    Ok(())
}

/// A vCPU is plugged in whose APIC ID another one has taken: the map is disabled by the newcomer's reset and nothing
/// else. (No finding can rest on a register that INIT wrote: it leaves the APIC disabled, its LDR zero and its ID alone.)
pub(super) fn reset(context: &Context, bench: &mut Bench) -> CaseResult {
    const PLUGGED: u32 = 3;
    const ITS_ID: u32 = PLUGGED << 24;
    let watch = bench.watch(context.hooks)?;
    let mut guest = scenario::flat(PLUGGED)?;
    guest.edit_lapic(1, &[(ApicReg::Id, ITS_ID)])?;
    settles_at(watch, None, &[Expected::rule(Rule::PhysicalAlias).on([1])])?;
    guest.add_vcpu(PLUGGED)?;
    // KVM enters a newcomer into the map at the next recalculation: this one changes nothing else.
    guest.edit_lapic(0, &[])?;
    let disabled = raised(watch, Rule::MapDisabled)?;
    has_cause(
        watch,
        &disabled,
        Route::Reset,
        PLUGGED,
        Register::Id,
        0u32,
        ITS_ID,
    )
}
