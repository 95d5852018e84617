//! Recorders, players and the verbs about recordings: what is replayed is what was told, byte by byte.

use std::fs;

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
    observation::{Lost, Observation, Touch, Touched},
};
use proptest::{collection::vec, prelude::*, sample::select, test_runner::RngSeed};
use recording::{Ending, Flags, Writer};
use serde_json::Value;

use crate::{
    command_line::run,
    fixture::{MS, SETTLE, bigsmp, engine, facts, gone, healthy, pin, read, sample, seen, vcpu},
    schema::hold,
};

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
            comm: "CPU 3/KVM".to_owned(),
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

/// The verbs themselves, without privileges, on this very machine.
#[test]
fn the_verbs_take_a_recording_whole_cut_or_damaged() {
    let (told, recording) = story(Stage::new(None, false));
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let whole = file("whole.ldrrec", &recording);
    assert_eq!(
        run(&["replay", &whole, "--format", "jsonl"]),
        (Some(0), told.clone(), String::new())
    );

    let (code, text, stderr) = run(&["replay", &whole, "--speed", "1000x"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(text.contains("raised     web (pid 100)"), "{text}");

    let cut = file("cut.ldrrec", &recording[..recording.len() * 9 / 10]);
    let (code, stdout, stderr) = run(&["replay", &cut, "--format", "jsonl"]);
    assert_eq!(code, Some(0));
    assert!(
        stderr.contains("cut.ldrrec was cut: it ends after byte "),
        "{stderr}"
    );
    let (last, before) = stdout.trim_end().rsplit_once('\n').map(|(a, b)| (b, a)).unwrap();
    assert!(told.starts_with(before), "{stdout}");
    let last: Value = serde_json::from_str(last).unwrap();
    assert_eq!(last["status"], "recording-cut");
    hold(&last);

    let mut changed = recording.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    let damaged = file("damaged.ldrrec", &changed);
    let (code, stdout, stderr) = run(&["replay", &damaged, "--format", "jsonl"]);
    assert_eq!(code, Some(3));
    assert!(told.starts_with(&stdout), "{stdout}");
    assert!(stderr.starts_with("error[recording-damaged]: "), "{stderr}");
    assert!(
        stderr.contains("is damaged in bytes ") && stderr.contains("\n  remedy: "),
        "{stderr}"
    );

    let (code, stdout, _) = run(&["snapshot", "--from", &whole, "--format", "json", "--at", "749ms"]);
    assert_eq!(code, Some(0));
    let snapshot: Value = serde_json::from_str(&stdout).unwrap();
    hold(&snapshot);
    assert_eq!(snapshot["taken_at"], "2023-11-14T22:13:20.750000Z");
    assert_eq!(snapshot["vms"][0]["name"], "web");
    assert_eq!(snapshot["vms"][0]["aimed"][0]["index"], 2);

    let (code, stdout, _) = run(&[
        "deliver", "--from", &whole, "--at", "749ms", "--vm", "web", "--format", "json",
    ]);
    assert_eq!(code, Some(0));
    hold(&serde_json::from_str(&stdout).unwrap());

    let (code, stdout, _) = run(&["check", "--from", &whole, "--at", "749ms"]);
    assert_eq!(code, Some(2), "{stdout}");
    let (code, stdout, _) = run(&["check", "--from", &whole]);
    assert_eq!(code, Some(0), "{stdout}");
}

#[test]
fn what_cannot_be_replayed_is_said_with_its_word() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("odd.ldrrec");
    let name = path.to_str().unwrap();
    let replayed = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let (code, stdout, stderr) = run(&["replay", name]);
        assert_eq!(stdout, "");
        let (word, _) = stderr.split_once("]: ").unwrap();
        (code, word.to_owned())
    };
    assert_eq!(replayed(b"{}"), (Some(3), "error[no-recording".to_owned()));
    assert_eq!(replayed(b""), (Some(3), "error[no-recording".to_owned()));
    let mut later = recording::file_header(Flags::default());
    later[8] = 2;
    // CRC-32 of the twelve bytes before it.
    let crc = crc_of(&later[..12]);
    later[12..].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(replayed(&later), (Some(3), "error[recording-version".to_owned()));
    let (code, _, stderr) = run(&["replay", "/nonexistent/web.ldrrec"]);
    assert_eq!(code, Some(3));
    assert!(stderr.starts_with("error[recording]: "), "{stderr}");

    let (_, recording) = story(Stage::new(None, false));
    fs::write(&path, &recording).unwrap();
    let (code, _, stderr) = run(&["replay", name, "--vm", "db"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("no VM matches `db`: there are "), "{stderr}");
    let (code, _, stderr) = run(&["snapshot", "--from", name, "--at", "2020-01-01T00:00:00Z"]);
    assert_eq!(code, Some(2));
    assert!(stderr.starts_with("error[no-such-moment]: "), "{stderr}");
    let (code, stdout, _) = run(&["check", "--from", "/nonexistent"]);
    assert_eq!(code, Some(3));
    assert!(stdout.contains("UNKNOWN"), "{stdout}");
    for wrong in [
        &["snapshot", "--at", "90s"][..],
        &["snapshot", "--from", name, "--hooks", "cold"],
        &["replay", name, "--speed", "fast"],
        &["replay"],
    ] {
        assert_eq!(run(wrong).0, Some(2), "{wrong:?}");
    }
}

/// CRC-32 (IEEE 802.3), bit by bit.
fn crc_of(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

/// One thing that happens after a while.
#[derive(Clone, Debug)]
enum Step {
    Seen(usize, u32),
    Read(usize, Vec<u8>, bool),
    Touched(usize, u32),
    Lost(usize),
    Dropped,
    Gone(usize),
    Nothing,
}

fn any_step() -> impl Strategy<Value = (u64, Step)> {
    let vm = || 1_usize..4;
    let logical = select(&[0_u8, 1, 2, 3, 4, 6, 8, 0x11, 0xff][..]);
    let step = prop_oneof![
        2 => (vm(), select(&[100_u32, 200][..])).prop_map(|(vm, pid)| Step::Seen(vm, pid)),
        6 => (vm(), vec(logical, 1..6), any::<bool>()).prop_map(|(vm, ids, aimed)| Step::Read(vm, ids, aimed)),
        3 => (vm(), 0_u32..6).prop_map(|(vm, vcpu)| Step::Touched(vm, vcpu)),
        1 => vm().prop_map(Step::Lost),
        1 => Just(Step::Dropped),
        1 => vm().prop_map(Step::Gone),
        3 => Just(Step::Nothing),
    ];
    (select(&[0_u64, 1, 5, 60, 199, 201, 1001, 2500][..]), step)
}

/// The same cases in every run, unless `PROPTEST_RNG_SEED` asks for others.
fn config() -> ProptestConfig {
    let given = ProptestConfig::default();
    ProptestConfig {
        rng_seed: match given.rng_seed {
            RngSeed::Random => RngSeed::Fixed(0x1d5c_09e5),
            fixed @ RngSeed::Fixed(_) => fixed,
        },
        failure_persistence: None,
        ..given
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happened_is_told_again(steps in vec(any_step(), 0..40), only in any::<bool>()) {
        let mut stage = Stage::new(only.then_some("web"), false);
        let mut at = MS;
        // A birth number is given once.
        let mut births = 0;
        let mut alive = [0; 4];
        for (pause, step) in steps {
            at += pause * MS;
            match step {
                Step::Seen(vm, pid) => {
                    if alive[vm] == 0 {
                        births += 1;
                        alive[vm] = births;
                        stage.feed(at, seen(births, pid, at));
                    }
                }
                Step::Read(vm, ids, aimed) if alive[vm] != 0 => {
                    let vcpus = (0..).zip(&ids).map(|(number, id)| vcpu(number, (*id).into()));
                    let mut sample = sample(alive[vm], at, vcpus.collect(), RULES);
                    if aimed {
                        sample.aims.push(pin(2, 1));
                    }
                    stage.feed(at, [read(sample)]);
                }
                Step::Touched(vm, vcpu) if alive[vm] != 0 => stage.feed(at, [touched(alive[vm], at, vcpu)]),
                Step::Lost(vm) if alive[vm] != 0 => {
                    let lost = Lost { vm: VmId(alive[vm]), at: BootTime(at) };
                    stage.feed(at, [Report::Observation(Observation::Lost(lost))]);
                }
                Step::Dropped => stage.feed(at, [Report::Dropped { records: 3 }]),
                Step::Gone(vm) if alive[vm] != 0 => {
                    stage.feed(at, [gone(alive[vm], at)]);
                    alive[vm] = 0;
                }
                _ => {}
            }
            // The loop polls late now and then.
            if pause != 1 {
                stage.poll(at + 3);
            }
        }
        stage.poll(at + 10 * SETTLE);
        let (told, recording) = stage.end(at + 10 * SETTLE);
        let options = PlayerOptions {
            filter: VmFilter::new(only.then(|| "web".to_owned())),
            ..PlayerOptions::default()
        };
        prop_assert_eq!(play(&recording, options).0, told);
    }
}
