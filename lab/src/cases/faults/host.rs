//! What a host goes through: its clock is set, it freezes, its CPUs come and go.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};

use super::{CaseError, load, note, shell};
use crate::cases::expect::{Expected, settles_at};
use crate::cases::{Bench, CaseResult, Context, require};
use crate::contract::{EventKind, Rule};
use crate::guest::Guest;
use crate::guest::lapic::{ApicReg, ldr};
use crate::host::MapRules;
use crate::load::{End, Kind};
use crate::scenario;
use crate::tool::{PATIENCE, Standing, Watch};

/// Seconds by which the clock is set.
const HOUR: i64 = 3600;

/// Lets vCPU 1 of a flat guest take slot 0, or gives it back, and waits until that is told.
fn collide(watch: &mut Watch, guest: &Guest, colliding: bool) -> CaseResult {
    let logical_id = if colliding { 0x01 } else { 0x02 };
    guest.edit_lapic(1, &[(ApicReg::Ldr, ldr(logical_id))])?;
    watch.wait_for("the collision is told, or its end", PATIENCE, |standing| {
        standing.is_empty() != colliding
    })?;
    Ok(())
}

fn step_clock(seconds: i64) -> CaseResult {
    let now = clock_gettime(ClockId::Realtime);
    let then = Timespec {
        tv_sec: now.tv_sec + seconds,
        ..now
    };
    clock_settime(ClockId::Realtime, then).map_err(|errno| CaseError::Host(errno.into()))
}

/// The wall clock goes an hour forth and two back: findings come in order, once, at their time of the clock as it is.
pub(in crate::cases) fn clock_steps(context: &Context, bench: &mut Bench) -> CaseResult {
    let watch = bench.watch(context.hooks)?;
    let guest = scenario::flat(2)?;
    collide(watch, &guest, true)?;
    step_clock(HOUR)?;
    let stepped = collide(watch, &guest, false)
        .and_then(|()| step_clock(-2 * HOUR))
        .and_then(|()| collide(watch, &guest, true))
        .and_then(|()| hold_order(watch));
    step_clock(HOUR)?;
    stepped
}

fn hold_order(watch: &mut Watch) -> CaseResult {
    watch.take_lines_for(Duration::from_secs(1))?;
    let collision = |event: &&crate::contract::Event| event.finding.rule == Rule::LdrCollision;
    let told: Vec<_> = watch.events().iter().filter(collision).collect();
    let kinds: Vec<_> = told.iter().map(|event| event.event).collect();
    watch.require(
        kinds == [EventKind::Raised, EventKind::Cleared, EventKind::Raised],
        &format!("raised, cleared, raised should be told, {kinds:?} were"),
    )?;
    let slow = told.iter().any(|event| event.latency_us > 60_000_000);
    watch.require(!slow, "no step of the clock should be taken for a delay")?;
    // RFC 3339 in UTC: alike up to the hour where the clock is read as it is now.
    let now = shell("date -u +%Y-%m-%dT%H")?;
    let last = told.last().map_or("", |event| event.time.as_str());
    watch.require(
        last.starts_with(now.trim_end()),
        &format!("the last one came at the clock's {now}, is said to at {last}"),
    )?;
    Ok(())
}

/// All processes freeze as before a suspend, and thaw.
pub(in crate::cases) fn freeze(context: &Context, bench: &mut Bench) -> CaseResult {
    if !Path::new("/sys/power/pm_test").exists() {
        return note("this kernel cannot test its freezer");
    }
    let watch = bench.watch(context.hooks)?;
    let guest = scenario::flat(2)?;
    collide(watch, &guest, true)?;
    watch.take_lines_for(Duration::from_secs(1))?;
    let seen = watch.events().len();
    let delay = Path::new("/sys/module/suspend/parameters/pm_test_delay");
    if delay.exists() {
        fs::write(delay, "1")?;
    }
    shell(
        "echo freezer > /sys/power/pm_test && echo freeze > /sys/power/state; echo none > /sys/power/pm_test",
    )?;
    watch.take_lines_for(Duration::from_secs(1))?;
    watch.require(watch.events().len() == seen, "a thaw should bring no event")?;
    collide(watch, &guest, false)?;
    collide(watch, &guest, true)?;
    drop(guest);
    watch.wait_for("the VM's end is told", PATIENCE, Standing::is_empty)?;
    Ok(())
}

/// A CPU goes and comes back while all of a guest's vCPUs write.
pub(in crate::cases) fn cpu_off_and_on(context: &Context, bench: &mut Bench) -> CaseResult {
    const ONLINE: &str = "/sys/devices/system/cpu/cpu1/online";
    bench.clear();
    let mut watch = Watch::ready(context.hooks)?;
    let mut storm = load(Kind::Storm, 1, 2, End::Colliding)?;
    storm.go()?;
    for _ in 0..3 {
        fs::write(ONLINE, "0")?;
        watch.take_lines_for(Duration::from_millis(500))?;
        fs::write(ONLINE, "1")?;
        watch.take_lines_for(Duration::from_millis(500))?;
    }
    let writes = storm.stop()?;
    require(writes > 0, || "the storm stood still".to_owned())?;
    let mut expected = vec![Expected::collision(0, 0, [0, 1])];
    if context.rules == MapRules::ConflictDisables {
        expected.push(Expected::rule(Rule::MapDisabled));
    }
    settles_at(&mut watch, None, &expected)?;
    drop(storm);
    settles_at(&mut watch, None, &[])?;
    Ok(())
}
