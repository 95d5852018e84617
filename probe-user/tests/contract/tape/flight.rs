//! The flight recorder: what it saves can be replayed whenever it is saved, says what stands, and never grows beyond its bound.

use std::time::Duration;

use ldrscope::{
    identity::filter::VmFilter,
    observer::Report,
    tape::{FlightRecorder, Player, PlayerOptions, Replayed},
};
use probe_apic::{id::BootTime, observation::VmSample};
use recording::Ending;
use serde_json::Value;

use super::{RULES, WALL, lines, play};
use crate::fixture::{MS, SETTLE, bigsmp, engine, facts, gone, healthy, pin, read, sample, seen};

const SECOND: u64 = 1000 * MS;

/// An engine with a flight recorder beside it, wired as the loop wires them.
struct Flown {
    engine: ldrscope::engine::Engine,
    recorder: FlightRecorder,
    told: usize,
}

impl Flown {
    fn new(limit: usize) -> Self {
        let mut recorder = FlightRecorder::new(Duration::from_nanos(SETTLE), VmFilter::default(), limit);
        recorder.opened(&facts(RULES), WALL, BootTime(MS));
        Self {
            engine: engine(RULES, None),
            recorder,
            told: 0,
        }
    }

    fn feed(&mut self, at: u64, reports: impl IntoIterator<Item = Report>) {
        let now = BootTime(at);
        for report in reports {
            if let Report::Process { vm, .. } = report {
                self.engine.feed(report, now);
                let identity = self.engine.identity(vm).unwrap();
                self.recorder.identified(vm, identity, now);
            } else {
                self.recorder.reported(&report, now);
                self.engine.feed(report, now);
            }
        }
        let told = !self.engine.poll(now).is_empty();
        self.told += usize::from(told);
        self.recorder.polled(WALL, now, told);
    }

    fn saved(&mut self, at: u64) -> Vec<u8> {
        self.recorder.flight(BootTime(at)).parts().concat()
    }

    /// Registers that never come back, so that each read takes room.
    fn rage(&mut self, from: u64, reads: u32) -> u64 {
        let mut at = from;
        for number in 0..reads {
            at += 10 * MS;
            let mut noisy = sample(2, at, healthy(16), RULES);
            for vcpu in &mut noisy.vcpus {
                vcpu.lapic.apic_base.0 ^= u64::from(number.wrapping_mul(0x9E37_79B9) | 0x1000) << 20;
            }
            self.feed(at, [read(noisy)]);
        }
        at
    }
}

fn armed(at: u64) -> VmSample {
    let mut armed = sample(1, at, bigsmp(16), RULES);
    armed.aims.push(pin(2, 1));
    armed
}

/// The host as a recording shows it at its end.
fn snapshot(recording: &[u8]) -> Vec<(String, usize)> {
    let mut player = Player::open(recording, PlayerOptions::default()).unwrap();
    while let Replayed::To(_) = player.step(&mut Vec::new()).unwrap() {}
    let view = player.engine().unwrap().view(player.now());
    let vms = view.vms.iter();
    vms.map(|vm| (vm.identity.name.clone(), vm.vm.vcpus().len()))
        .collect()
}

#[test]
fn what_led_to_something_critical_is_told_by_the_file() {
    let mut flown = Flown::new(1 << 20);
    flown.feed(MS, seen(1, 100, MS));
    flown.feed(10 * MS, [read(sample(1, 10 * MS, bigsmp(16), RULES))]);
    flown.feed(300 * MS, []);
    flown.feed(500 * MS, [read(armed(500 * MS))]);
    flown.feed(800 * MS, []);
    assert!(flown.told >= 2);
    let (told, ending) = play(&flown.saved(801 * MS), PlayerOptions::default());
    assert_eq!(ending, Ending::Whole);
    let stolen = |line: &Value, severity: &str| {
        line["finding"]["rule"] == "ldr-collision" && line["finding"]["severity"] == severity
    };
    let lines = lines(&told);
    assert!(
        lines
            .iter()
            .any(|line| line["event"] == "raised" && stolen(line, "warning")),
        "{told}"
    );
    assert!(
        lines
            .iter()
            .any(|line| line["event"] == "changed" && stolen(line, "critical")),
        "{told}"
    );
}

#[test]
fn what_was_forgotten_has_left_the_state_that_the_rest_begins_in() {
    let limit = 64 << 10;
    let mut flown = Flown::new(limit);
    flown.feed(MS, seen(1, 100, MS));
    flown.feed(MS, seen(2, 200, MS));
    flown.feed(MS, seen(3, 300, MS));
    flown.feed(
        10 * MS,
        [read(armed(10 * MS)), read(sample(3, 10 * MS, healthy(2), RULES))],
    );
    flown.feed(300 * MS, []);
    let mut at = flown.rage(SECOND, 3000);
    flown.feed(at, [gone(3, at)]);
    at = flown.rage(at, 3000);
    assert!(
        flown.recorder.held() <= limit + (64 << 10),
        "{}",
        flown.recorder.held()
    );
    let saved = flown.saved(at);
    assert!(saved.len() <= limit + 4096, "{}", saved.len());
    // The first VM was last read long before what is still there.
    assert_eq!(
        snapshot(&saved),
        [("web".to_owned(), 16), snapshot(&saved)[1].clone()]
    );
    assert_eq!(snapshot(&saved)[1].1, 16);
    let (told, ending) = play(&saved, PlayerOptions::default());
    assert_eq!(ending, Ending::Whole);
    let first = &lines(&told)[0];
    assert_eq!(first["event"], "raised", "{told}");
    let standing = lines(&told);
    let web = standing
        .iter()
        .find(|line| line["vm"]["name"] == "web" && line["finding"]["rule"] == "ldr-collision")
        .unwrap();
    assert_eq!(
        (&web["event"], &web["finding"]["severity"]),
        (&"raised".into(), &"critical".into())
    );
    // What came before the beginning is not known, and nobody says it was.
    assert_eq!(web["finding"]["since"], Value::Null);
    assert_eq!(web["finding"]["cause"]["route"], "scan");
    assert_eq!(web["finding"]["cause"]["certain"], false);
    assert!(!told.contains("vm-gone"), "{told}");
}

#[test]
fn it_goes_on_after_it_was_asked_and_over_a_reload_of_kvm() {
    let mut flown = Flown::new(1 << 20);
    assert_eq!(
        play(&flown.saved(2 * MS), PlayerOptions::default()).1,
        Ending::Whole
    );
    flown.feed(3 * MS, seen(1, 100, 3 * MS));
    flown.feed(10 * MS, [read(armed(10 * MS))]);
    let early = flown.saved(11 * MS);
    assert_eq!(snapshot(&early), [("web".to_owned(), 16)]);
    flown.feed(300 * MS, []);
    let later = flown.saved(301 * MS);
    assert!(later.len() > early.len());
    assert!(play(&later, PlayerOptions::default()).0.contains("critical"));
    flown.recorder.unloaded(BootTime(SECOND));
    flown.recorder.opened(&facts(RULES), WALL, BootTime(2 * SECOND));
    assert_eq!(snapshot(&flown.saved(3 * SECOND)), []);
}
