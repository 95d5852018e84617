//! What the engine counts, on fabricated reports.

use ldrscope::{
    engine::Engine,
    identity::filter::VmFilter,
    observer::{HostFacts, Report},
};
use probe_apic::{
    cause::{Register, Route, Task},
    id::{BootTime, VcpuId, VmId},
    lapic::Lapic,
    map_rules::MapRules,
    observation::{Observation, Touch, Touched, VcpuSample},
    tracker::ChangeKind,
};

use crate::fixture::{MS, Processes, SETTLE, engine, facts, feed, gone, healthy, read, sample, seen, vcpu};

const RULES: MapRules = MapRules::Overwrite;

fn precise() -> Engine {
    let facts = HostFacts {
        precise: true,
        ..facts(RULES)
    };
    Engine::new(facts, SETTLE, VmFilter::default(), Box::new(Processes::new()))
}

fn touched(at: u64, what: Touch, lapic: Lapic, recalculations: u64) -> Report {
    Report::Observation(Observation::Touched(Touched {
        vm: VmId(1),
        at: BootTime(at),
        recalculations,
        what,
        vcpu: Some(VcpuId(0)),
        lapic: Some(lapic),
        task: Task::default(),
    }))
}

fn wrote(at: u64, new: u64) -> Report {
    let what = Touch::Wrote {
        register: Register::Ldr,
        old: None,
        new,
        guest_rip: None,
    };
    touched(at, what, vcpu(0, 1).lapic, 0)
}

fn counted(at: u64, vcpus: Vec<VcpuSample>, recalculations: u64) -> Report {
    let mut sample = sample(1, at, vcpus, RULES);
    sample.recalculations = recalculations;
    read(sample)
}

fn by_route(engine: &Engine) -> Vec<(&'static str, u64)> {
    let counts = Route::ALL.map(|route| (route.name(), engine.tally().ldr_writes(route)));
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
}

#[test]
fn a_recalculation_counts_once_whoever_tells_of_it_first() {
    let mut engine = engine(RULES, None);
    feed(&mut engine, 0, seen(1, 100, 0));
    let lapic = vcpu(0, 1).lapic;
    let reports = [
        touched(1, Touch::Recalculated, lapic, 2),
        touched(2, Touch::Recalculated, lapic, 1),
        counted(3, healthy(1), 5),
        touched(4, Touch::Recalculated, lapic, 4),
    ];
    feed(&mut engine, MS, reports);
    assert_eq!(engine.tally().recalculations(), 5);
}

#[test]
fn a_change_of_ldr_counts_by_its_route_and_once() {
    let mut engine = engine(RULES, None);
    feed(&mut engine, 0, seen(1, 100, 0));
    let reports = [
        touched(1, Touch::Recalculated, vcpu(0, 1).lapic, 1),
        counted(2, vec![vcpu(0, 1)], 1),
        touched(3, Touch::Entered(Route::SetLapic), vcpu(0, 1).lapic, 1),
        touched(4, Touch::Recalculated, vcpu(0, 2).lapic, 2),
        counted(5, vec![vcpu(0, 2)], 2),
    ];
    feed(&mut engine, MS, reports);
    assert_eq!(by_route(&engine), [("guest-write", 1), ("set-lapic", 1)]);
}

#[test]
fn a_change_that_is_explained_only_after_it_was_read_counts_once() {
    let mut engine = engine(RULES, None);
    feed(&mut engine, 0, seen(1, 100, 0));
    let reports = [
        counted(1, vec![vcpu(0, 1)], 1),
        counted(2, vec![vcpu(0, 2)], 2),
        touched(2, Touch::Recalculated, vcpu(0, 2).lapic, 2),
    ];
    feed(&mut engine, MS, reports);
    assert_eq!(by_route(&engine), [("scan", 2)]);
}

#[test]
fn precise_hooks_count_every_single_guest_write() {
    let mut engine = precise();
    feed(&mut engine, 0, seen(1, 100, 0));
    let same = 0x0100_0000;
    let reports = [
        wrote(1, same),
        touched(2, Touch::Recalculated, vcpu(0, 1).lapic, 1),
        wrote(3, same),
        touched(4, Touch::Recalculated, vcpu(0, 1).lapic, 2),
        counted(5, vec![vcpu(0, 1)], 2),
    ];
    feed(&mut engine, MS, reports);
    assert_eq!(by_route(&engine), [("guest-write", 2)]);
}

#[test]
fn counts_outlive_their_vm_and_their_engine() {
    let mut first = engine(RULES, None);
    feed(&mut first, 0, seen(1, 100, 0));
    feed(&mut first, MS, [counted(1, vec![vcpu(0, 1), vcpu(1, 1)], 7)]);
    first.poll(BootTime(2 * SETTLE));
    feed(&mut first, 3 * SETTLE, [gone(1, 3 * SETTLE)]);
    let tally = first.into_tally();
    assert_eq!(tally.finding_events(ChangeKind::Raised), 1);
    assert_eq!(tally.finding_events(ChangeKind::Cleared), 1);

    // The same birth number and the same count mean another VM in a module that was loaded anew.
    let mut second = engine(RULES, None).with_tally(tally);
    feed(&mut second, 0, seen(1, 100, 0));
    feed(&mut second, MS, [counted(1, vec![vcpu(0, 1)], 7)]);
    assert_eq!(second.tally().recalculations(), 14);
    assert_eq!(second.tally().finding_events(ChangeKind::Raised), 1);
    assert_eq!(second.tally().ldr_writes(Route::Scan), 3);
}

#[test]
fn what_stands_is_what_was_told_and_not_cleared() {
    let mut engine = engine(RULES, None);
    feed(&mut engine, 0, seen(1, 100, 0));
    feed(&mut engine, 0, [counted(0, vec![vcpu(0, 1), vcpu(1, 1)], 1)]);
    let findings = |engine: &Engine, at| -> [usize; 2] {
        [engine.view(BootTime(at)), engine.standing(BootTime(at))].map(|view| view.vms[0].findings.len())
    };
    assert_eq!(findings(&engine, MS), [1, 0]);
    engine.poll(BootTime(2 * SETTLE));
    assert_eq!(findings(&engine, 2 * SETTLE), [1, 1]);
    feed(&mut engine, 3 * SETTLE, [counted(3 * SETTLE, healthy(2), 2)]);
    assert_eq!(findings(&engine, 3 * SETTLE), [0, 1]);
}
