//! What must raise nothing: healthy guests, a restore, a host without VMs, and ldrscope's own canary.

use std::time::Duration;

use super::{Bench, CaseResult, Context, require};
use crate::guest::lapic::{ApicReg, DFR_CLUSTER, SVR_ENABLED, cluster_id, ldr};
use crate::guest::{Guest, GuestError};
use crate::scenario;
use crate::tool::{Watch, snapshot};

/// Four settle times.
const SILENCE: Duration = Duration::from_millis(800);

pub(super) fn flat_8(context: &Context, bench: &mut Bench) -> CaseResult {
    stays_silent(context, bench, || scenario::flat(8))
}

pub(super) fn x2apic(context: &Context, bench: &mut Bench) -> CaseResult {
    stays_silent(context, bench, || scenario::x2apic(4))
}

pub(super) fn physical_flat(context: &Context, bench: &mut Bench) -> CaseResult {
    stays_silent(context, bench, || scenario::physical_flat(16))
}

fn stays_silent(
    context: &Context,
    bench: &mut Bench,
    boot: impl FnOnce() -> Result<Guest, GuestError>,
) -> CaseResult {
    let watch = bench.watch(context.hooks)?;
    let guest = boot()?;
    watch.assert_silent_for(SILENCE)?;
    drop(guest);
    watch.assert_silent_for(SILENCE / 4)?;
    Ok(())
}

/// A VMM turns 16 healthy cluster-mode vCPUs into 16 others, in the opposite order: until the last one is written,
/// old and new ones collide.
pub(super) fn restore(context: &Context, bench: &mut Bench) -> CaseResult {
    const VCPUS: u32 = 16;
    let watch = bench.watch(context.hooks)?;
    let guest = Guest::with_vcpus(VCPUS)?;
    let restore = |index_of: fn(u32) -> u32| {
        (0..VCPUS).try_for_each(|id| {
            let logical = ldr(cluster_id(index_of(id)));
            let registers = [
                (ApicReg::Dfr, DFR_CLUSTER),
                (ApicReg::Ldr, logical),
                (ApicReg::Svr, SVR_ENABLED),
            ];
            guest.edit_lapic(id, &registers)
        })
    };
    restore(|id| id)?;
    watch.assert_silent_for(SILENCE)?;
    restore(|id| VCPUS - 1 - id)?;
    watch.assert_silent_for(SILENCE)?;
    Ok(())
}

pub(super) fn no_vm(context: &Context, bench: &mut Bench) -> CaseResult {
    let watch = bench.watch(context.hooks)?;
    let vms = snapshot(&[])?.vms;
    require(vms.is_empty(), || {
        format!("snapshot of a host without VMs holds {vms:?}")
    })?;
    watch.assert_silent_for(SILENCE)?;
    Ok(())
}

/// Two copies and a snapshot at once, each with a canary VM of its own: none is ever shown.
pub(super) fn canary_hidden(context: &Context, bench: &mut Bench) -> CaseResult {
    let first = bench.watch(context.hooks)?;
    let mut second = Watch::start(context.hooks, &["--settle", "0"])?;
    let vms = snapshot(&[])?.vms;
    require(vms.is_empty(), || format!("snapshot shows a canary: {vms:?}"))?;
    first.assert_silent_for(SILENCE)?;
    second.assert_silent_for(SILENCE / 4)?;
    Ok(())
}
