//! The engine, the limit and the event log together: a guest that flaps as fast as it can, beside one that does not.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use ldrscope::{
    clock::WallClock,
    daemon::{
        event_log::EventLog,
        limiter::{Limiter, Rate},
    },
    engine::{Engine, output::Output},
};
use probe_apic::{id::BootTime, map_rules::MapRules, observation::VcpuSample, tracker::ChangeKind};
use serde_json::Value;

use crate::{
    fixture::{MS, SETTLE, bigsmp, engine, gone, healthy, pin, read, sample, seen},
    schema::hold,
};

const RULES: MapRules = MapRules::Overwrite;
const SECOND: u64 = 1000 * MS;
const WALL: WallClock = WallClock::booted_at(1_700_000_000_000_000_000);

fn write(log: &mut EventLog, outputs: &[Output], now: BootTime) {
    outputs.iter().for_each(|output| log.emit(output, WALL, now));
}

/// Does what falls due until there is nothing more before `end`.
fn pass_time(engine: &mut Engine, limiter: &mut Limiter, log: &mut EventLog, end: u64) {
    while let Some(due) = [engine.next_due(), limiter.next_due()]
        .into_iter()
        .flatten()
        .min()
        .filter(|due| due.0 <= end)
    {
        engine.take_refresh_due(due);
        engine
            .poll(due)
            .into_iter()
            .for_each(|output| limiter.push(output));
        write(log, &limiter.take(due), due);
    }
}

fn becomes(engine: &mut Engine, vm: u64, at: u64, vcpus: Vec<VcpuSample>) {
    let mut sample = sample(vm, at, vcpus, RULES);
    sample.aims.push(pin(2, 0x01));
    engine.feed(read(sample), BootTime(at));
}

/// Rule and slots of each finding that stands according to the log, by VM.
fn standing(lines: &[Value]) -> BTreeMap<String, BTreeSet<String>> {
    let mut standing: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in lines.iter().filter(|line| line["event"].is_string()) {
        let findings = standing
            .entry(line["vm"]["name"].as_str().unwrap().to_owned())
            .or_default();
        let id = line["finding"]["id"].as_str().unwrap().to_owned();
        match line["event"].as_str().unwrap() {
            "raised" => assert!(findings.insert(id), "raised twice: {line}"),
            "cleared" => assert!(findings.remove(&id), "cleared without being raised: {line}"),
            _ => assert!(findings.contains(&id), "changed without being raised: {line}"),
        }
    }
    standing
}

#[test]
fn a_storm_is_told_in_few_lines_that_say_what_holds_in_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.jsonl");
    let mut log = EventLog::open(&path, BootTime(0)).unwrap();
    let mut limiter = Limiter::new(Rate::new(1, SECOND));
    let mut engine = engine(RULES, None);
    for (vm, pid) in [(1, 100), (2, 200)] {
        seen(vm, pid, 0)
            .into_iter()
            .for_each(|report| engine.feed(report, BootTime(0)));
    }
    // A minute of one VM's flapping, slow enough that the settle time lets everything through.
    let step = 3 * SETTLE;
    let steps = 60 * SECOND / step;
    for number in 0..steps {
        let at = number * step;
        let storm = if number % 2 == 0 { bigsmp(16) } else { healthy(8) };
        becomes(&mut engine, 1, at, storm);
        pass_time(&mut engine, &mut limiter, &mut log, at + step - 1);
    }
    // The quiet one's trouble is told at once all the same.
    let at = steps * step;
    becomes(&mut engine, 2, at, bigsmp(4));
    becomes(&mut engine, 1, at, bigsmp(8));
    pass_time(&mut engine, &mut limiter, &mut log, at + SETTLE);
    let lines = || -> Vec<Value> {
        let text = fs::read_to_string(&path).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let of = |lines: &[Value], vm: &str| lines.iter().filter(|line| line["vm"]["name"] == vm).count();
    assert!(of(&lines(), "e\x1b[31mvil\u{202e}") > 0);
    pass_time(&mut engine, &mut limiter, &mut log, at + 60 * SECOND);

    let told = lines();
    told.iter().for_each(hold);
    assert!(
        of(&told, "web") as u64 <= 5 + (at + 60 * SECOND) / SECOND,
        "{}",
        of(&told, "web")
    );
    let expected: BTreeMap<String, usize> = engine
        .standing(BootTime(at + 60 * SECOND))
        .vms
        .iter()
        .map(|vm| (vm.identity.name.clone(), vm.findings.len()))
        .collect();
    let stands = standing(&told);
    let counts: BTreeMap<String, usize> = stands.iter().map(|(vm, ids)| (vm.clone(), ids.len())).collect();
    assert_eq!(counts, expected);

    let events = told.iter().filter(|line| line["event"].is_string()).count() as u64;
    let kinds = [ChangeKind::Raised, ChangeKind::Changed, ChangeKind::Cleared];
    let said: u64 = kinds.map(|kind| engine.tally().finding_events(kind)).iter().sum();
    assert_eq!(events + limiter.suppressed(), said);
    assert!(limiter.suppressed() > 100, "{}", limiter.suppressed());
    let suppressed =
        |line: &Value| (line["status"] == "suppressed").then(|| line["records"].as_u64().unwrap());
    assert_eq!(
        told.iter().filter_map(suppressed).sum::<u64>(),
        limiter.suppressed()
    );
    assert_eq!(log.losses(), 0);

    engine.feed(gone(1, at + 61 * SECOND), BootTime(at + 61 * SECOND));
    pass_time(&mut engine, &mut limiter, &mut log, at + 62 * SECOND);
    let end = BootTime(at + 62 * SECOND);
    write(&mut log, &limiter.finish(end), end);
    let told = lines();
    assert_eq!(
        told.last().map(|line| line["status"].as_str()),
        Some(Some("vm-gone"))
    );
    assert!(standing(&told)["web"].is_empty());
}
