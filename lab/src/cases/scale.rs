//! Large hosts and large guests: nothing is lost while a thousand vCPUs boot, and an event takes no longer beside a thousand VMs.

use std::collections::BTreeSet;

use super::many::is_exact;
use super::{Bench, CaseResult, Context, require};
use crate::contract::{Finding, Rule, StatusKind};
use crate::guest::lapic::{APIC_BASE_ENABLED, APIC_BASE_X2APIC, ApicReg, DFR_FLAT, SVR_ENABLED, ldr};
use crate::guest::{Guest, GuestError, layout};
use crate::measure::event;
use crate::tool::{PATIENCE, Watch, snapshot};

/// The most that 5.10 allows (`KVM_MAX_VCPUS`).
pub(super) fn boot_288(context: &Context, bench: &mut Bench) -> CaseResult {
    boot(288, context, bench)
}

pub(super) fn boot_1024(context: &Context, bench: &mut Bench) -> CaseResult {
    boot(1024, context, bench)
}

/// Every vCPU of a large guest sets ID, SVR, DFR and LDR, one after the other, and KVM builds its map anew each time. With the
/// ring as large as it is by default nothing is dropped, and in the end the very state is known.
fn boot(vcpus: u32, context: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let mut watch = Watch::ready(context.hooks)?;
    let guest = Guest::with_vcpus(vcpus)?;
    for id in 0..vcpus {
        set_up(&guest, id)?;
    }
    let seen = snapshot(&[])?;
    is_exact(&seen, &guest, vcpus)?;
    let found: BTreeSet<_> = seen.vms.iter().flat_map(|vm| &vm.findings).map(essence).collect();
    let wanted = format!("what is told is what a snapshot finds, which is {found:?}");
    watch.wait_for(&wanted, 2 * PATIENCE, |standing| {
        let told: BTreeSet<_> = standing.findings().into_iter().map(essence).collect();
        told == found
    })?;
    let lost = watch
        .statuses()
        .iter()
        .any(|status| status.status == StatusKind::Lost);
    watch.require(!lost, "no event should be lost")?;
    Ok(())
}

/// As a Linux boot does it: flat, one slot of eight for each vCPU that xAPIC can name, x2APIC for the others.
fn set_up(guest: &Guest, id: u32) -> Result<(), GuestError> {
    if id > 0xFF {
        let mode = APIC_BASE_ENABLED | APIC_BASE_X2APIC;
        return guest
            .set_apic_base(id, u64::from(layout::LAPIC) | mode)
            .and_then(|()| guest.edit_lapic(id, &[(ApicReg::Svr, SVR_ENABLED)]));
    }
    for register in [
        (ApicReg::Id, id << 24),
        (ApicReg::Svr, SVR_ENABLED),
        (ApicReg::Dfr, DFR_FLAT),
        (ApicReg::Ldr, ldr(1 << (id % 8))),
    ] {
        guest.edit_lapic(id, &[register])?;
    }
    Ok(())
}

/// A finding, but for when and by whom. Whom `map-disabled` blames is a matter of history, of which a snapshot has none.
fn essence(finding: &Finding) -> String {
    let Finding {
        rule,
        severity,
        vcpus,
        slots,
        ..
    } = finding;
    let vcpus = if *rule == Rule::MapDisabled {
        &[][..]
    } else {
        vcpus
    };
    format!("{rule:?} {severity:?} {vcpus:?} {slots:?}")
}

/// By the scheduler's account of ldrscope's CPU time, in one run. Emulation on a busy machine makes it vary by more than its double;
/// were other VMs read or judged for each event, it would be dozens of times as much. What is walked in memory alone is held by
/// the engine's own tests, and counted by `lab-case measure event`.
pub(super) fn event_among_many(_: &Context, bench: &mut Bench) -> CaseResult {
    const EVENTS: u32 = 300;
    const VMS: u32 = 1000;
    bench.clear();
    let alone = event::of_one(0, EVENTS)?;
    let among = event::of_one(VMS, EVENTS)?;
    require(among <= 5 * alone, || {
        format!(
            "an event should take as long beside {VMS} VMs as alone, took {among} ns instead of {alone} ns"
        )
    })
}
