//! Guests and VMMs that write APIC state as fast as they can: ldrscope stays small, goes on telling of other VMs, and is
//! right about the guest once it holds still.

use std::thread;
use std::time::{Duration, Instant};

use super::{footprint, has_not_grown, load, mostly_within, note, timed, unmet};
use crate::cases::expect::{Expected, settles_at};
use crate::cases::{Bench, CaseResult, Context, require};
use crate::contract::{Confidence, EventKind, Rule};
use crate::guest::Guest;
use crate::guest::lapic::{ApicReg, ldr};
use crate::host::MapRules;
use crate::load::{self, End, Kind, LoadProcess};
use crate::outside::process::cpu_ticks;
use crate::scenario;
use crate::tool::{PATIENCE, Watch, snapshot};

/// ldrscope's settle time.
const SETTLE: Duration = Duration::from_millis(200);
/// Within this another VM's finding is told, the settle time left out.
const PROMPT: Duration = Duration::from_millis(250);
/// A load has shown by then what it makes of ldrscope's memory.
const WARM_UP: Duration = Duration::from_secs(1);

pub(in crate::cases) fn all_vcpus(context: &Context, bench: &mut Bench) -> CaseResult {
    const VCPUS: u32 = 8;
    bench.clear();
    let mut watch = Watch::ready(context.hooks)?;
    let mut other = scenario::flat(2)?;
    let quiet = (0..3)
        .map(|_| time_of_a_collision(&mut watch, &mut other))
        .collect::<Result<Vec<_>, _>>()?;
    note(&format!(
        "on a quiet host another VM's collision is told after {quiet:?}"
    ))?;
    for end in [End::Sane, End::Colliding] {
        let mut storm = load(Kind::Storm, 1, VCPUS, end)?;
        let left = expected_of(context, end, VCPUS);
        settles_at(&mut watch, Some(storm.pid()), &left)?;
        storm.go()?;
        watch.take_lines_for(WARM_UP)?;
        let before = footprint(&watch)?;
        watch.forget();
        let [_, reader] = watch.processes()?;
        let ticks = cpu_ticks(reader)?;
        let start = Instant::now();
        let length = Duration::from_secs(context.scaled(5, 60).into());
        let mut times = Vec::new();
        while start.elapsed() < length || times.len() < 3 {
            times.push(time_of_a_collision(&mut watch, &mut other)?);
        }
        has_not_grown(&watch, before)?;
        let ticks = cpu_ticks(reader)? - ticks;
        let took = start.elapsed();
        let writes = storm.stop()?;
        let lines = watch
            .events()
            .iter()
            .filter(|event| event.vm.pid == storm.pid())
            .count();
        note(&format!(
            "{writes} writes; ldrscope ran {} ms of {took:?} and told {lines} events of the storm",
            ticks * 10
        ))?;
        mostly_within(SETTLE + PROMPT, times, "telling another VM's collision")?;
        settles_at(&mut watch, Some(storm.pid()), &left)?;
        holds_no_divergence(&watch)?;
    }
    Ok(())
}

/// Lets a healthy guest of two vCPUs collide, waits until that is told, and until it is over.
fn time_of_a_collision(watch: &mut Watch, other: &mut Guest) -> Result<Duration, crate::cases::CaseError> {
    let this = std::process::id();
    let collides = |logical_id| other.edit_lapic(1, &[(ApicReg::Ldr, ldr(logical_id))]);
    collides(0x01)?;
    let ((), took) = timed(|| {
        watch.wait_for("another VM's collision is told", PATIENCE, |standing| {
            !standing.of_process(this).is_empty()
        })
    })?;
    collides(0x02)?;
    watch.wait_for("its end is told", PATIENCE, |standing| {
        standing.of_process(this).is_empty()
    })?;
    Ok(took)
}

/// What stands of a guest that a load left in this state.
fn expected_of(context: &Context, end: End, vcpus: u32) -> Vec<Expected> {
    match end {
        End::Sane => Vec::new(),
        End::Colliding => {
            let mut expected = vec![Expected::collision(0, 0, (0..vcpus).collect::<Vec<_>>())];
            if context.rules == MapRules::ConflictDisables {
                expected.push(Expected::rule(Rule::MapDisabled));
            }
            expected
        }
    }
}

/// KVM builds its maps right on these kernels: whoever says otherwise compared what was never there at once.
fn holds_no_divergence(watch: &Watch) -> CaseResult {
    let invented = watch
        .events()
        .iter()
        .any(|event| event.finding.rule == Rule::MapDivergence);
    if invented {
        return Err(unmet(watch, "no divergence of KVM's map should be told"));
    }
    Ok(())
}

pub(in crate::cases) fn flapping(context: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let mut watch = Watch::ready(context.hooks)?;
    let mut flapping = load(Kind::Flapping, 1, 2, End::Sane)?;
    settles_at(&mut watch, None, &[])?;
    watch.forget();
    flapping.go()?;
    watch.wait_for("the flapping collision is raised", PATIENCE, |standing| {
        !standing.is_empty()
    })?;
    let length = Duration::from_secs(context.scaled(5, 60).into());
    watch.take_lines_for(length)?;
    let times = flapping.stop()?;
    let raised = |kind| {
        watch
            .events()
            .iter()
            .filter(|event| event.event == kind && event.finding.rule == Rule::LdrCollision)
            .count()
    };
    let [raised, cleared] = [EventKind::Raised, EventKind::Cleared].map(raised);
    let lines = watch.events().len();
    note(&format!("{times} collisions in {length:?}: {lines} events"))?;
    watch.require(
        raised == 1 && cleared == 0,
        &format!("it should be raised once and held, was raised {raised} times and cleared {cleared} times"),
    )?;
    // One line a second, and a burst of five.
    let most = 5 + length.as_secs() as usize;
    watch.require(
        lines <= most,
        &format!("at most {most} events should come, {lines} did"),
    )?;
    settles_at(&mut watch, None, &[])?;
    Ok(())
}

pub(in crate::cases) fn restores(context: &Context, bench: &mut Bench) -> CaseResult {
    const VMS: u32 = 8;
    const VCPUS: u32 = 4;
    bench.clear();
    let mut watch = Watch::ready(context.hooks)?;
    let mut storm = load(Kind::Restore, VMS, VCPUS, End::Sane)?;
    settles_at(&mut watch, None, &[])?;
    storm.go()?;
    watch.take_lines_for(WARM_UP)?;
    let before = footprint(&watch)?;
    for _ in 0..context.scaled(2, 20) {
        nothing_mixed(&storm)?;
        watch.take_lines_for(Duration::from_millis(200))?;
    }
    has_not_grown(&watch, before)?;
    let pages = storm.stop()?;
    note(&format!("{pages} pages set"))?;
    settles_at(&mut watch, None, &[])?;
    holds_no_divergence(&watch)?;
    thread::sleep(SETTLE);
    for vm in snapshot(&[])?.vms {
        let wrong = vm
            .vcpus
            .iter()
            .find(|vcpu| vcpu.ldr != ldr(1 << vcpu.vcpu_id) || !vcpu.sw_enabled);
        require(wrong.is_none() && vm.map.agrees == Some(true), || {
            format!("every VM should be as it was left, this one is not: {vm:?}")
        })?;
    }
    Ok(())
}

/// A snapshot's VM that is called certain has no vCPU with registers that were never set together, and its maps agree.
fn nothing_mixed(storm: &LoadProcess) -> CaseResult {
    let vms = snapshot(&["--vm", &storm.pid().to_string()])?.vms;
    let certain: Vec<_> = vms
        .iter()
        .filter(|vm| vm.confidence == Confidence::Certain)
        .collect();
    note(&format!(
        "{} of {} VMs certain in a snapshot",
        certain.len(),
        vms.len()
    ))?;
    for vm in certain {
        let mixed = vm.vcpus.iter().find(|vcpu| !load::is_whole(vcpu.ldr, vcpu.svr));
        require(mixed.is_none(), || {
            format!("a certain VM has a mixed vCPU: {mixed:?}")
        })?;
        require(vm.map.agrees != Some(false), || {
            format!("a certain VM's maps should agree: {vm:?}")
        })?;
    }
    Ok(())
}
