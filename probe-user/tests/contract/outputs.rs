//! The engine and the daemon's outputs together: a guest that flaps as fast as it can, beside one that does not.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use clap::Parser as _;
use ldrscope::{
    cli::{Cli, Command},
    clock::WallClock,
    daemon::{
        config::{Settings, Surroundings},
        outputs::Outputs,
        snapshots::Reason,
    },
    engine::Engine,
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

fn settings(directory: &Path) -> Settings {
    let at = |name: &str| directory.join(name).display().to_string();
    let words = [
        "ldrscope".to_owned(),
        "serve".to_owned(),
        "--journal=off".to_owned(),
        format!("--event-log={}", at("log/events.jsonl")),
        format!("--snapshot-dir={}", at("snapshots")),
        "--snapshot-keep=3".to_owned(),
    ];
    let Command::Serve(serve) = Cli::try_parse_from(words).unwrap().command else {
        panic!("not serve");
    };
    let surroundings = Surroundings {
        default_file: directory.join("none.toml"),
        state_directory: None,
    };
    Settings::load(&serve, &surroundings).unwrap()
}

/// Does what falls due until there is nothing more before `end`.
fn pass_time(engine: &mut Engine, outputs: &mut Outputs, end: u64) {
    while let Some(due) = [engine.next_due(), outputs.next_due()]
        .into_iter()
        .flatten()
        .min()
        .filter(|due| due.0 <= end)
    {
        engine.take_refresh_due(due);
        outputs.tell(engine.poll(due), WALL, due);
        outputs.tick(WALL, due);
        if outputs.snapshot_is_due(due) {
            outputs.write_snapshot(&engine.view(due), WALL, Reason::Critical);
        }
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
    let settings = settings(directory.path());
    settings.prepare().unwrap();
    let mut outputs = Outputs::open(&settings, BootTime(0)).unwrap();
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
        pass_time(&mut engine, &mut outputs, at + step - 1);
    }
    // The quiet one's trouble is told at once all the same.
    let at = steps * step;
    becomes(&mut engine, 2, at, bigsmp(4));
    becomes(&mut engine, 1, at, bigsmp(8));
    pass_time(&mut engine, &mut outputs, at + SETTLE);
    let log = directory.path().join("log/events.jsonl");
    let lines = || -> Vec<Value> {
        let text = fs::read_to_string(&log).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let of = |lines: &[Value], vm: &str| lines.iter().filter(|line| line["vm"]["name"] == vm).count();
    assert!(of(&lines(), "e\x1b[31mvil\u{202e}") > 0);
    pass_time(&mut engine, &mut outputs, at + 60 * SECOND);

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
    let counters = outputs.counters();
    let kinds = [ChangeKind::Raised, ChangeKind::Changed, ChangeKind::Cleared];
    let said: u64 = kinds.map(|kind| engine.tally().finding_events(kind)).iter().sum();
    assert_eq!(events + counters.suppressed_lines, said);
    assert!(counters.suppressed_lines > 100, "{counters:?}");
    let suppressed =
        |line: &Value| (line["status"] == "suppressed").then(|| line["records"].as_u64().unwrap());
    assert_eq!(
        told.iter().filter_map(suppressed).sum::<u64>(),
        counters.suppressed_lines
    );
    assert_eq!(
        counters.errors,
        BTreeMap::from([("event-log", 0), ("snapshot", 0)])
    );
    let written = counters.snapshots["critical"];
    assert!((2..=13).contains(&written), "one in ten seconds: {written}");
    assert_eq!(
        fs::read_dir(directory.path().join("snapshots")).unwrap().count(),
        3
    );

    engine.feed(gone(1, at + 61 * SECOND), BootTime(at + 61 * SECOND));
    pass_time(&mut engine, &mut outputs, at + 62 * SECOND);
    assert!(outputs.finish(WALL, BootTime(at + 62 * SECOND)));
    let told = lines();
    assert_eq!(
        told.last().map(|line| line["status"].as_str()),
        Some(Some("vm-gone"))
    );
    assert!(standing(&told)["web"].is_empty());
}
