//! Real interrupts that go astray: told under `watch --interrupts`, with their number, and only there. The very interrupt of 2019; one that
//! a slot of no one's eats; healthy ones, of which nothing is told; and more of them than are counted.

use std::io;
use std::time::Duration;

use super::{Bench, CaseError, CaseResult, Context, require};
use crate::contract::{EventKind, Finding, Rule, Severity, StatusKind};
use crate::guest::lapic::{ApicReg, ldr};
use crate::guest::layout::TIMER_VECTOR;
use crate::guest::{Guest, GuestError, Msi};
use crate::host::MapRules;
use crate::outside::process::while_stopped;
use crate::outside::programs;
use crate::scenario::{self, DeadCpus, Kdump, TIMER_DEST};
use crate::tool::{PATIENCE, Watch};

/// Longer than two windows of counting and a settle time.
const TOLD_BY: Duration = Duration::from_millis(800);
const VECTOR: u8 = 0x41;

pub(super) fn evidence(context: &Context, bench: &mut Bench) -> CaseResult {
    bench.watch(context.hooks)?;
    require(counting()?.is_empty(), || {
        format!(
            "a plain watch should not count interrupts, but loads {:?}",
            counting()
        )
    })?;
    bench.clear();
    let mut watch = Watch::ready_with(context.hooks, &["--interrupts"])?;
    watch.require(
        !counting()?.is_empty(),
        "the program that counts should be loaded",
    )?;
    watch.require(
        watch.stderr().contains("instructions"),
        "the cost should be said as it is switched on",
    )?;
    healthy(&mut watch)?;
    lost(context, &mut watch)?;
    of_2019(context, &mut watch)?;
    storm(&mut watch)
}

/// The programs that count interrupts, by name.
fn counting() -> io::Result<Vec<String>> {
    let loaded = programs::loaded()?.into_iter().map(|program| program.name);
    Ok(loaded.filter(|name| name.starts_with("interrupt")).collect())
}

fn is_evidence(rule: Rule) -> bool {
    matches!(rule, Rule::InterruptLost | Rule::InterruptMisrouted)
}

/// Interrupts that arrive raise nothing, of whatever kind.
fn healthy(watch: &mut Watch) -> CaseResult {
    let guest = scenario::flat(4)?;
    for _ in 0..20 {
        for dest in [0x01, 0x02, 0x06, 0x0F] {
            guest.signal(&Msi::logical(dest, VECTOR))?;
            guest.signal(&Msi::lowest_priority(dest, VECTOR + 1))?;
        }
        guest.signal(&Msi::physical(1, VECTOR))?;
    }
    nothing_told(watch, 0)
}

/// Before 6.3 an interrupt to the higher bit of an LDR of two reaches nobody. It is over once the LDR has one.
fn lost(context: &Context, watch: &mut Watch) -> CaseResult {
    const SENT: u32 = 14;
    let guest = scenario::flat_with(&[0x01, 0x06])?;
    // One that is counted in the same window as a recalculation is judged as well, unless another one follows.
    in_one_window(watch, || {
        (0..SENT).try_for_each(|_| guest.signal(&Msi::logical(0x04, VECTOR)))
    })?;
    let reached = guest.requesting(VECTOR)?;
    if context.rules == MapRules::ConflictDisables {
        require(reached == [1], || {
            format!("KVM should scan, but reached {reached:?}")
        })?;
        nothing_told(watch, 0)?;
        drop(guest);
        return cleared(watch);
    }
    require(reached.is_empty(), || {
        format!("nobody should be reached, but {reached:?} are")
    })?;
    let told = told(watch, Rule::InterruptLost)?;
    let sentence = format!(
        "{SENT} interrupts with vector {VECTOR:#04x} to logical destination 0x04 reached nobody instead of vCPU 1"
    );
    watch.require(
        told.summary.contains(&sentence),
        &format!("it should say: {sentence}"),
    )?;
    watch.require(told.severity == Severity::Critical, "it should be critical")?;
    watch.require(told.vcpus == [1], "it should be about vCPU 1")?;
    let seen = watch.events().len();
    guest.edit_lapic(1, &[(ApicReg::Ldr, ldr(0x04))])?;
    watch.wait_for_event("it is cleared", seen, |event| {
        event.event == EventKind::Cleared && event.finding.rule == Rule::InterruptLost
    })?;
    healed(guest, watch)
}

/// What was sent astray arrives now, and is told no more.
fn healed(guest: Guest, watch: &mut Watch) -> CaseResult {
    guest.signal(&Msi::logical(0x04, VECTOR))?;
    let reached = guest.requesting(VECTOR)?;
    require(reached == [1], || {
        format!("vCPU 1 should be reached, but {reached:?} are")
    })?;
    drop(guest);
    let seen = watch.events().len();
    nothing_told(watch, seen)?;
    cleared(watch)
}

/// What a guest that has ended brought is told no more.
fn cleared(watch: &mut Watch) -> CaseResult {
    watch.wait_for("what the guest brought is cleared", PATIENCE, |standing| {
        standing.is_empty()
    })?;
    Ok(())
}

/// The timer of the kdump kernel raises one interrupt, and waits for its end before the next.
fn of_2019(context: &Context, watch: &mut Watch) -> CaseResult {
    watch.forget();
    let mut kdump = Kdump::boot_bigsmp()?;
    kdump.crash(DeadCpus::LeftEnabled)?;
    kdump.arm_timer()?;
    let ticks = kdump.await_timer()?;
    if context.rules == MapRules::ConflictDisables {
        require(ticks >= 3, || "the timer should come, but did not".to_owned())?;
        nothing_told(watch, 0)?;
        drop(kdump);
        return cleared(watch);
    }
    require(ticks == 0, || {
        format!("the timer should never come, but came {ticks} times")
    })?;
    let told = told(watch, Rule::InterruptMisrouted)?;
    let sentence = format!(
        "1 interrupt with vector {TIMER_VECTOR:#04x} to logical destination {TIMER_DEST:#04x} went to vCPU 15 alone, and not to vCPUs 0"
    );
    watch.require(
        told.summary.starts_with(&sentence),
        &format!("it should say: {sentence}"),
    )?;
    watch.require(told.severity == Severity::Critical, "it should be critical")?;
    watch.require(
        told.vcpus.contains(&0) && told.vcpus.contains(&15),
        "it should be about vCPUs 0 and 15",
    )?;
    drop(kdump);
    cleared(watch)
}

/// With nobody to begin the next window a CPU counts a thousand, and says of the others that they were not counted.
fn storm(watch: &mut Watch) -> CaseResult {
    const SENT: u64 = 3000;
    const COUNTED: u64 = 1000;
    watch.forget();
    let guest = scenario::flat(2)?;
    watch.take_lines_for(TOLD_BY)?;
    in_one_window(watch, || {
        (0..SENT).try_for_each(|_| guest.signal(&Msi::logical(0x02, VECTOR)))
    })?;
    watch.wait_for_status("that some were not counted", |status| {
        status.status == StatusKind::Uncounted
    })?;
    watch.take_lines_for(TOLD_BY)?;
    let uncounted: u64 = watch
        .statuses()
        .iter()
        .filter(|status| status.status == StatusKind::Uncounted)
        .filter_map(|status| status.records)
        .sum();
    watch.require(
        uncounted == SENT - COUNTED,
        &format!("{} should not be counted, {uncounted} were not", SENT - COUNTED),
    )?;
    let reached = guest.requesting(VECTOR)?;
    require(reached == [1], || {
        format!("the guest should go on, but {reached:?} were reached")
    })?;
    nothing_told(watch, 0)
}

/// Has everything that `send` sends counted in the same window: nobody begins the next one meanwhile.
fn in_one_window(watch: &Watch, send: impl FnOnce() -> Result<(), GuestError>) -> CaseResult {
    let [_, reader] = watch.processes()?;
    while_stopped(reader, || Ok(send()?))
}

/// The finding of `rule`, once it is raised.
fn told(watch: &mut Watch, rule: Rule) -> Result<Finding, CaseError> {
    let event = watch.wait_for_event("the interrupts are told", 0, |event| {
        event.event == EventKind::Raised && event.finding.rule == rule
    })?;
    Ok(event.finding)
}

/// No interrupt is told to have gone astray, in any event from that one on.
fn nothing_told(watch: &mut Watch, from: usize) -> CaseResult {
    watch.take_lines_for(TOLD_BY)?;
    let told = watch.events().iter().skip(from);
    let told = told.filter(|event| event.event == EventKind::Raised && is_evidence(event.finding.rule));
    watch.require(
        told.count() == 0,
        "no interrupt should be told to have gone astray",
    )?;
    Ok(())
}
