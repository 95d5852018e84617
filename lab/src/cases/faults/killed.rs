//! SIGKILL at any moment: of VMMs while their guests write, and of ldrscope itself.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{both_end, load, middle, mostly_within, note, nothing_left_attached, timed};
use crate::cases::expect::{Expected, settles_at};
use crate::cases::{Bench, CaseResult, Context, require};
use crate::contract::{Rule, StatusKind};
use crate::host::MapRules;
use crate::load::{End, Kind};
use crate::outside::attached::Attached;
use crate::outside::process::signal;
use crate::random::Random;
use crate::tool::{PATIENCE, Watch, snapshot};

/// A killed VMM's VM is gone within this.
const GONE: Duration = Duration::from_secs(1);
/// All that there is to tell is told within this of a start.
const FULL_STATE: Duration = Duration::from_secs(2);

fn collision_of_two(context: &Context) -> Vec<Expected> {
    let mut expected = vec![Expected::collision(0, 0, [0, 1])];
    if context.rules == MapRules::ConflictDisables {
        expected.push(Expected::rule(Rule::MapDisabled));
    }
    expected
}

/// VMMs are killed while all their vCPUs write; a VM that is left alone keeps what stands of it.
pub(in crate::cases) fn vmm(context: &Context, bench: &mut Bench) -> CaseResult {
    const VCPUS: u32 = 4;
    bench.clear();
    let mut watch = Watch::ready(context.hooks)?;
    let left_alone = load(Kind::Idle, 1, 2, End::Colliding)?;
    settles_at(&mut watch, Some(left_alone.pid()), &collision_of_two(context))?;
    let mut random = Random::new(9);
    let mut times = Vec::new();
    for _ in 0..context.scaled(5, 100) {
        watch.forget();
        let mut storm = load(Kind::Storm, 1, VCPUS, End::Sane)?;
        let pid = storm.pid();
        storm.go()?;
        watch.take_lines_for(Duration::from_millis(random.below(400).into()))?;
        drop(storm);
        let killed = Instant::now();
        watch.wait_for_status("the killed VMM's VM is gone", |status| {
            status.status == StatusKind::VmGone && status.vm.as_ref().is_some_and(|vm| vm.pid == pid)
        })?;
        times.push(killed.elapsed());
        let left = watch.standing().of_process(pid).len();
        watch.require(
            left == 0,
            &format!("nothing of the dead VM should stand, {left} findings do"),
        )?;
    }
    mostly_within(GONE, times, "telling that a killed VMM's VM is gone")?;
    settles_at(&mut watch, Some(left_alone.pid()), &collision_of_two(context))?;
    Ok(())
}

/// ldrscope is killed at a random moment, mostly while it starts, with VMs running.
pub(in crate::cases) fn ldrscope(context: &Context, bench: &mut Bench) -> CaseResult {
    const VMS: u32 = 4;
    bench.clear();
    let before = Attached::settled()?;
    let mut random = Random::new(u64::from(context.hooks.word().len() as u32));
    // How long a start takes here: most of the kills are to come in the midst of one.
    let ((), ready) = timed(|| Watch::ready(context.hooks).map(drop))?;
    nothing_left_attached(before)?;
    let collisions = load(Kind::Idle, VMS, 2, End::Colliding)?;
    let mut storm = load(Kind::Storm, 1, 2, End::Sane)?;
    storm.go()?;
    let mut most = before;
    for _ in 0..context.scaled(6, 200) {
        let mut watch = Watch::start(context.hooks, &[])?;
        thread::sleep(Duration::from_millis(
            random.below(2 * ready.as_millis() as u32 + 1).into(),
        ));
        let now = Attached::now()?;
        if !now.is_at_most(most) {
            most = now;
        }
        // Either process, where there are two already: each takes the other along.
        let processes = watch.processes();
        match processes {
            Ok(both) => signal(both[random.below(2) as usize], Signal::KILL)?,
            Err(_) => watch.signal(Signal::KILL)?,
        }
        watch.wait_for_exit()?;
        nothing_left_attached(before)?;
        if let Ok(both) = processes {
            both_end(both)?;
        }
    }
    note(&format!("before {before:?}, at most {most:?}"))?;
    require(
        most.kprobes > before.kprobes && most.programs > before.programs,
        || format!("it should have been killed while attached at least once: {most:?}"),
    )?;
    storm.stop()?;
    let (mut looks, mut times) = (Vec::new(), Vec::new());
    for _ in 0..context.scaled(3, 20) {
        let ((), look) = timed(|| snapshot(&[]).map(drop))?;
        looks.push(look);
        let start = Instant::now();
        let mut watch = Watch::start(context.hooks, &[])?;
        watch.wait_for(
            "every VM's collision is told after a restart",
            2 * PATIENCE,
            |standing| {
                let told = standing.of_process(collisions.pid()).into_iter();
                told.filter(|finding| finding.rule == Rule::LdrCollision).count() == VMS as usize
            },
        )?;
        times.push(start.elapsed());
    }
    // Where the machine beneath is too busy for that, a snapshot just before says what it has left: it starts, looks at
    // every VM and ends.
    let limit = FULL_STATE.max(2 * middle(&mut looks));
    note(&format!("snapshots beside restarts take {looks:?}"))?;
    mostly_within(limit, times, "telling the full state after a restart")?;
    nothing_left_attached(before)
}

/// Two copies at once; one is killed, and the other goes on.
pub(in crate::cases) fn one_of_two(context: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let before = Attached::settled()?;
    let mut stays = Watch::ready(context.hooks)?;
    let one = Attached::settled()?;
    let mut killed = Watch::ready(context.hooks)?;
    let colliding = load(Kind::Idle, 1, 2, End::Colliding)?;
    for watch in [&mut stays, &mut killed] {
        settles_at(watch, Some(colliding.pid()), &collision_of_two(context))?;
    }
    killed.signal(Signal::KILL)?;
    killed.wait_for_exit()?;
    drop(colliding);
    settles_at(&mut stays, None, &[])?;
    // While there is a VM other programs are attached.
    nothing_left_attached(one)?;
    drop(stays);
    nothing_left_attached(before)
}
