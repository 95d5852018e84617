//! Who did it: each route by which a register changes, and what the cause of the finding says about it.

use super::expect::{Expected, settles_at};
use super::{Bench, CaseResult, Context, require};
use crate::contract::{Cause, EventKind, Register, Route, Rule};
use crate::guest::Op;
use crate::guest::lapic::{ApicReg, DFR_FLAT, SVR_ENABLED, ldr};
use crate::scenario;
use crate::tool::Watch;

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
    let raised = watch.wait_for_event("the collision is raised", 0, |event| {
        event.event == EventKind::Raised && event.finding.rule == Rule::LdrCollision
    })?;
    watch.require(
        raised.finding.vcpus == [1, 2],
        "the collision should be of vCPUs 1 and 2",
    )?;
    let Some(cause) = raised.finding.cause else {
        return require(false, || "the collision should have a cause".to_owned());
    };
    let wanted = Cause {
        route,
        vcpu_id: Some(2),
        register: Some(Register::Ldr),
        old: Some(u64::from(LDR_BEFORE)),
        new: Some(u64::from(LDR_AFTER)),
        certain: true,
        // Whoever ran the vCPU: this very thread. The instruction pointer is known to precise hooks at most.
        tid: Some(std::process::id()),
        comm: cause.comm.clone(),
        guest_rip: cause.guest_rip,
    };
    watch.require(
        cause == wanted,
        &format!("the cause should be {wanted:?}, is {cause:?}"),
    )?;
    Ok(())
}

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

    // The vCPU lives on: its next collision is told like the first.
    guest.write_logical_id(3, DFR_FLAT, 0x02, SVR_ENABLED)?;
    let collision = Expected::collision(0, 1, [1, 3]);
    let left_over = Expected::rule(Rule::LdrStale).suspected().optional();
    let disabled = Expected::rule(Rule::MapDisabled).optional();
    settles_at(watch, None, &[collision, left_over, disabled])?;
    Ok(())
}
