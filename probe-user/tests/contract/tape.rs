//! Recorders, players and the verbs about recordings: what is replayed is what was told, byte by byte.

mod flight;
mod property;
mod verbs;

use ldrscope::{
    clock::WallClock,
    engine::{Engine, output::Output},
    identity::filter::VmFilter,
    observer::Report,
    sink::{Sink, jsonl::JsonLines},
    tape::{Moment, Player, PlayerOptions, Recorder, Replayed},
};
use probe_apic::{
    cause::Task,
    id::{BootTime, VcpuId, VmId},
    map_rules::MapRules,
    observation::{Observation, Sent, Touch, Touched},
};
use recording::{Ending, Flags, Writer};
use serde_json::Value;

use crate::fixture::{MS, SETTLE, bigsmp, engine, facts, gone, healthy, pin, read, sample, seen, vcpu};

const RULES: MapRules = MapRules::Overwrite;
const BOOT: i64 = 1_700_000_000_000_000_000;
const WALL: WallClock = WallClock::booted_at(BOOT);

/// An engine with a recorder beside it, wired as the loop wires them.
struct Stage {
    engine: Engine,
    recorder: Recorder,
    writer: Writer<Vec<u8>>,
    told: Vec<u8>,
}

impl Stage {
    fn new(wanted: Option<&str>, anonymise: bool) -> Self {
        let filter = VmFilter::new(wanted.map(str::to_owned));
        let settle = std::time::Duration::from_nanos(SETTLE);
        let mut stage = Self {
            engine: engine(RULES, wanted),
            recorder: Recorder::new(settle, filter, anonymise),
            writer: Writer::new(
                Vec::new(),
                Flags {
                    anonymised: anonymise,
                    interrupts: true,
                },
            )
            .unwrap(),
            told: Vec::new(),
        };
        stage
            .recorder
            .opened(&facts(RULES), WALL, BootTime(MS), stage.writer.packer());
        stage
    }

    fn feed(&mut self, at: u64, reports: impl IntoIterator<Item = Report>) {
        let now = BootTime(at);
        for report in reports {
            if let Report::Process { vm, .. } = report {
                self.engine.feed(report, now);
                if let Some(identity) = self.engine.identity(vm) {
                    self.recorder.identified(vm, identity, now, self.writer.packer());
                }
            } else {
                self.recorder.reported(&report, now, self.writer.packer());
                self.engine.feed(report, now);
            }
        }
    }

    fn poll(&mut self, at: u64) {
        let now = BootTime(at);
        let outputs = self.engine.poll(now);
        self.recorder
            .polled(WALL, now, !outputs.is_empty(), self.writer.packer());
        emit(&mut self.told, &outputs, WALL);
        self.writer.flush().unwrap();
    }

    /// What was told, and the recording.
    fn end(self, at: u64) -> (String, Vec<u8>) {
        let recording = self.writer.finish(BootTime(at)).unwrap();
        (String::from_utf8(self.told).unwrap(), recording)
    }
}

fn emit(out: &mut Vec<u8>, outputs: &[Output], wall: WallClock) {
    let mut sink = JsonLines::new(out);
    for output in outputs {
        sink.emit(output, wall).unwrap();
    }
}

fn play(recording: &[u8], options: PlayerOptions) -> (String, Ending) {
    let mut player = Player::open(recording, options).unwrap();
    let mut told = Vec::new();
    let mut outputs = Vec::new();
    loop {
        let replayed = player.step(&mut outputs).unwrap();
        emit(&mut told, &outputs, player.wall());
        outputs.clear();
        if let Replayed::End(ending) = replayed {
            return (String::from_utf8(told).unwrap(), ending);
        }
    }
}

fn lines(told: &str) -> Vec<Value> {
    told.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn touched(vm: u64, at: u64, number: u32) -> Report {
    Report::Observation(Observation::Touched(Touched {
        vm: VmId(vm),
        at: BootTime(at),
        recalculations: 1,
        what: Touch::Recalculated,
        vcpu: Some(VcpuId(number)),
        lapic: Some(vcpu(number, number).lapic),
        task: Task {
            tid: 4720,
            tgid: 100,
            comm: "CPU 3/KVM".into(),
        },
    }))
}

/// A VM whose first kernel leaves bad LDRs behind, whose second aims at one, and which ends; another, and a loss.
fn story(mut stage: Stage) -> (String, Vec<u8>) {
    let ms = |time: u64| time * MS;
    stage.feed(ms(1), seen(1, 100, ms(1)));
    stage.feed(ms(1), seen(2, 200, ms(1)));
    stage.poll(ms(1));
    stage.feed(ms(10), (0..16).map(|number| touched(1, ms(9), number)));
    let mut first = sample(1, ms(10), bigsmp(16), RULES);
    first.recalculations = 1;
    stage.feed(ms(10), [read(first)]);
    stage.feed(ms(10), [read(sample(2, ms(10), healthy(4), RULES))]);
    stage.poll(ms(10));
    stage.poll(ms(211));
    let mut armed = sample(1, ms(500), bigsmp(16), RULES);
    armed.recalculations = 1;
    armed.aims.push(pin(2, 1));
    stage.feed(ms(500), [read(armed.clone())]);
    stage.poll(ms(500));
    stage.poll(ms(703));
    stage.feed(ms(800), [Report::Dropped { records: 7 }]);
    stage.poll(ms(800));
    armed.at = BootTime(ms(900));
    stage.feed(
        ms(900),
        [read(armed), read(sample(2, ms(900), healthy(4), RULES))],
    );
    stage.poll(ms(900));
    let sent = Sent {
        vm: VmId(1),
        from: BootTime(ms(600)),
        until: BootTime(ms(700)),
        recalculations: 1,
        dest: 1,
        vector: 0x30,
        lowest_priority: false,
        count: 14,
    };
    stage.feed(
        ms(950),
        [
            Report::Observation(Observation::Sent(sent)),
            Report::Uncounted { interrupts: 5 },
        ],
    );
    stage.poll(ms(950));
    stage.feed(ms(1000), [gone(1, ms(1000))]);
    stage.poll(ms(1000));
    stage.poll(ms(3000));
    stage.end(ms(3000))
}

#[test]
fn what_is_replayed_is_what_was_told() {
    let (told, recording) = story(Stage::new(None, false));
    let rules: Vec<_> = lines(&told)
        .iter()
        .map(|line| line["finding"]["rule"].as_str().unwrap_or("-").to_owned())
        .collect();
    assert!(rules.iter().any(|rule| rule == "ldr-collision"), "{told}");
    assert!(rules.iter().any(|rule| rule == "interrupt-misrouted"), "{told}");
    assert!(
        told.contains("14 interrupts with vector 0x30 to logical destination 0x01 went to vCPU 15 alone")
            && told.contains("\"uncounted\""),
        "{told}"
    );
    assert!(
        told.contains("critical") && told.contains("vm-gone") && told.contains("\"lost\""),
        "{told}"
    );
    assert_eq!(play(&recording, PlayerOptions::default()), (told, Ending::Whole));
}

#[test]
fn one_vm_alone_is_replayed_as_it_was_told_alone() {
    let (told, recording) = story(Stage::new(Some("web"), false));
    let (all, whole) = story(Stage::new(None, false));
    assert_eq!(play(&recording, PlayerOptions::default()).0, told);
    assert!(recording.len() < whole.len());
    let web = PlayerOptions {
        filter: VmFilter::new(Some("web".to_owned())),
        ..PlayerOptions::default()
    };
    assert_eq!(play(&whole, web).0, told);
    assert_ne!(all, told);
}

#[test]
fn a_vm_that_is_named_late_is_recorded_from_then_on() {
    let mut stage = Stage::new(Some("web"), false);
    let [seen, owner] = seen(1, 100, MS);
    let collision = || sample(1, MS, vec![vcpu(0, 1), vcpu(1, 1)], RULES);
    stage.feed(MS, [seen, read(collision())]);
    stage.poll(MS);
    stage.feed(2 * MS, [owner, read(collision())]);
    stage.poll(2 * MS);
    stage.poll(2 * SETTLE);
    let (told, recording) = stage.end(2 * SETTLE);
    let replayed = play(&recording, PlayerOptions::default()).0;
    let rules = |told: &str| -> Vec<Value> {
        lines(told)
            .iter()
            .map(|line| line["finding"]["rule"].clone())
            .collect()
    };
    assert_eq!(rules(&replayed), rules(&told));
    assert_eq!(rules(&replayed), ["ldr-collision"]);
}

#[test]
fn another_settle_time_tells_when_it_is_due() {
    let (_, recording) = story(Stage::new(None, false));
    let with = |settle_nanos| {
        let options = PlayerOptions {
            settle_nanos: Some(settle_nanos),
            ..PlayerOptions::default()
        };
        let first = lines(&play(&recording, options).0);
        let first = first.iter().find(|line| line["event"] == "raised").cloned();
        first.map(|line| line["time"].as_str().unwrap().to_owned())
    };
    assert_eq!(with(0).as_deref(), Some("2023-11-14T22:13:20.010000Z"));
    assert_eq!(with(37 * MS).as_deref(), Some("2023-11-14T22:13:20.047000Z"));
    assert_eq!(with(3600 * 1000 * MS), None);
}

#[test]
fn another_kvm_judges_the_same_registers_otherwise() {
    let (told, recording) = story(Stage::new(None, false));
    let options = PlayerOptions {
        as_kvm: Some(MapRules::ConflictDisables),
        ..PlayerOptions::default()
    };
    let (other, _) = play(&recording, options);
    assert!(told.contains("\"severity\":\"critical\""));
    assert!(
        !other.contains("\"severity\":\"critical\"") && other.contains("map-disabled"),
        "{other}"
    );
}

#[test]
fn pseudonyms_change_names_and_nothing_else() {
    let (told, _) = story(Stage::new(None, false));
    let (_, recording) = story(Stage::new(None, true));
    let (hidden, _) = play(&recording, PlayerOptions::default());
    for secret in ["web", "evil", "0a1b2c3d", "CPU 3", "\"pid\":100}"] {
        assert!(told.contains(secret) || secret == "evil", "{secret}: {told}");
        assert!(!hidden.contains(secret), "{secret}: {hidden}");
    }
    let bare = |told: &str| -> Vec<Value> {
        let mut lines = lines(told);
        for line in &mut lines {
            line["vm"] = Value::Null;
            if line["finding"].is_object() {
                line["finding"]["id"] = Value::Null;
                if line["finding"]["cause"].is_object() {
                    line["finding"]["cause"]["tid"] = Value::Null;
                    line["finding"]["cause"]["comm"] = Value::Null;
                }
            }
        }
        lines
    };
    assert_eq!(bare(&hidden), bare(&told));
}

#[test]
fn a_moment_is_looked_at_by_either_clock() {
    let (_, recording) = story(Stage::new(None, false));
    let vms_at = |until| {
        let options = PlayerOptions {
            until: Some(until),
            ..PlayerOptions::default()
        };
        let mut player = Player::open(&recording[..], options).unwrap();
        while let Replayed::To(_) = player.step(&mut Vec::new()).unwrap() {}
        let engine = player.engine().unwrap();
        (engine.view(player.now()).vms.len(), player.now().0)
    };
    let after = |millis| Moment::After(std::time::Duration::from_millis(millis));
    assert_eq!(vms_at(after(4)), (0, 5 * MS));
    assert_eq!(vms_at(after(998)), (2, 999 * MS));
    assert_eq!(vms_at(after(1499)), (1, 1500 * MS));
    let wall = "2023-11-14T22:13:20.999Z".parse().unwrap();
    assert_eq!(vms_at(Moment::Wall(wall)), (2, 999 * MS));
}
