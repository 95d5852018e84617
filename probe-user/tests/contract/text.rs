//! Text for people, against golden files. `BLESS=1 cargo test -p probe-user` writes them anew.

use ldrscope::{
    clock::WallClock,
    engine::{
        Engine,
        deliveries::{Question, deliveries},
        output::{Event, Output, Status, StatusKind},
    },
    identity::VmIdentity,
    sink::{Sink, deliver_table, snapshot_table, terminal::Style, text::Text},
};
use probe_apic::{
    cause::{Cause, Register, Route, Task},
    delivery::{DeliveryMode, DestinationMode},
    finding::{Confidence, Effect, Evidence, Finding, FindingKey, Rule, Severity},
    id::{BootTime, Slot, VcpuId, VmId},
    lapic::Lapic,
    map_rules::MapRules,
    observation::{Irqchip, VmSample},
    reg::Dfr,
    tracker::{Change, ChangeKind},
};

use crate::fixture::{MS, bigsmp, engine, feed, golden, healthy, pin, read, sample, seen, vcpu};

const WALL: WallClock = WallClock::booted_at(1_700_000_000_000_000_000);
const NARROW: Style = Style {
    colour: false,
    width: Some(80),
};

fn collision() -> Finding {
    let evidence = |number| Evidence {
        vcpu_id: VcpuId(number),
        lapic: vcpu(number, 3).lapic,
    };
    Finding {
        key: FindingKey {
            rule: Rule::LdrCollision,
            slot: Some(Slot { cluster: 0, bit: 0 }),
        },
        severity: Severity::Critical,
        vcpus: (0..6).map(VcpuId).collect(),
        slots: vec![Slot { cluster: 0, bit: 0 }],
        since: Some(BootTime(1_000_000_000)),
        summary: "flat bit 0 is claimed by vCPUs 0-5; KVM delivers to vCPU 5 alone".to_owned(),
        confidence: Confidence::Certain,
        suspected: false,
        effect: Effect {
            lost: 0,
            misrouted: 0,
            partial: 127,
            slow: false,
        },
        evidence: (0..6).map(evidence).collect(),
        cause: Some(Cause {
            at: BootTime(1_000_000_000),
            route: Route::GuestWrite,
            vcpu_id: Some(VcpuId(5)),
            task: Some(Task {
                tid: 4711,
                tgid: 4700,
                comm: "CPU 5/KVM\x1b]0;x\x07".into(),
            }),
            register: Some(Register::Ldr),
            old: Some(0),
            new: Some(0x0300_0000),
            guest_rip: Some(0xffff_ffff_8100_0000),
            certain: true,
        }),
    }
}

fn event(kind: ChangeKind, finding: Finding) -> Output {
    let vm = VmIdentity {
        name: "we\x1b[2Jb".to_owned(),
        vmm: "qemu".to_owned(),
        pid: Some(4700),
        ..VmIdentity::unknown()
    };
    let change = Change {
        vm: VmId(1),
        kind,
        finding,
        at: BootTime(1_200_000_000),
        latency_nanos: 1,
    };
    Output::Event(Box::new(Event { vm, change }))
}

fn watched(style: Style) -> String {
    let stale = Finding {
        severity: Severity::Notice,
        key: FindingKey {
            rule: Rule::LdrStale,
            slot: None,
        },
        slots: Vec::new(),
        suspected: true,
        confidence: Confidence::Uncertain,
        effect: Effect::default(),
        evidence: Vec::new(),
        cause: None,
        since: None,
        ..collision()
    };
    let lost = Status {
        at: BootTime(2_000_000_000),
        vm: None,
        kind: StatusKind::Lost { records: 12 },
    };
    let outputs = [
        event(ChangeKind::Raised, collision()),
        event(ChangeKind::Changed, stale),
        event(ChangeKind::Cleared, collision()),
        Output::Status(lost),
    ];
    let mut text = Vec::new();
    let mut sink = Text::new(&mut text, style);
    outputs
        .iter()
        .try_for_each(|output| sink.emit(output, WALL))
        .unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn watch_in_80_columns() {
    golden("watch-80", &watched(NARROW));
}

#[test]
fn watch_in_a_pipe_has_one_line_for_each_thing() {
    golden("watch-pipe", &watched(Style::default()));
}

#[test]
fn watch_on_a_colour_terminal_paints_the_severity_alone() {
    let colourful = watched(Style {
        colour: true,
        ..NARROW
    });
    assert!(colourful.contains("\x1b[1;31mcritical\x1b[0m"));
    assert_eq!(colourful.matches('\x1b').count(), 6);
}

fn table(engine: &Engine) -> String {
    let mut text = Vec::new();
    snapshot_table::write(&mut text, &engine.view(BootTime(1_000_000_000)), WALL, NARROW).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn a_host_without_vms_says_so() {
    golden("snapshot-none", &table(&engine(MapRules::Overwrite, None)));
}

#[test]
fn snapshot_of_every_kind_of_vm() {
    let rules = MapRules::Overwrite;
    let mut engine = engine(rules, None);
    for (vm, pid) in [(1, 100), (2, 200), (3, 200), (4, 300)] {
        feed(&mut engine, 0, seen(vm, pid, 0));
    }
    let mut cluster = healthy(4);
    for vcpu in &mut cluster {
        vcpu.lapic.dfr = Dfr::CLUSTER;
    }
    let mut userspace = sample(3, 0, Vec::new(), rules);
    userspace.irqchip = Irqchip::Userspace;
    let mut divergent = sample(4, 0, healthy(8), rules);
    divergent.aims.push(pin(2, 0x01));
    if let Some(map) = &mut divergent.published {
        map.slots.pop();
    }
    let samples = [
        sample(1, 0, healthy(8), rules),
        sample(2, 0, cluster, rules),
        userspace,
        divergent,
    ];
    // Twice, since a divergence has to be confirmed.
    for at in [0, 50 * MS] {
        let again = samples.clone().map(|sample| VmSample {
            at: BootTime(at),
            ..sample
        });
        feed(&mut engine, at, again.map(read));
    }
    let text = table(&engine);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    for part in [
        "VM web (pid 100): vmm qemu",
        "no findings",
        "VM e\\x1b[31mvil\\u{202e} (pid 200)",
        "cluster 0",
        "emulates the local APICs itself",
        "THEY DIFFER",
        "aimed: IOAPIC pin 2 -> destination 0x01, vector 0x30",
        "map-divergence",
    ] {
        assert!(text.contains(part), "`{part}` is missing in\n{text}");
    }
}

#[test]
fn deliveries_of_a_bad_and_of_a_good_vm() {
    let mut engine = engine(MapRules::Overwrite, None);
    for (vm, pid) in [(1, 100), (2, 200)] {
        feed(&mut engine, 0, seen(vm, pid, 0));
    }
    let bad = sample(1, MS, bigsmp(16), MapRules::Overwrite);
    let good = sample(2, MS, healthy(3), MapRules::Overwrite);
    feed(&mut engine, MS, [bad, good].map(read));
    golden("deliver", &deliveries_of(&engine, &every_destination()));
    let only_bad = Question {
        only_bad: true,
        ..every_destination()
    };
    golden("deliver-only-bad", &deliveries_of(&engine, &only_bad));
    let lowest_priority = Question {
        delivery_mode: DeliveryMode::LowestPriority { vector: 0x31 },
        ..only_bad.clone()
    };
    golden(
        "deliver-lowest-priority",
        &deliveries_of(&engine, &lowest_priority),
    );
    let physical = Question {
        destination_mode: DestinationMode::Physical,
        ..every_destination()
    };
    golden("deliver-physical", &deliveries_of(&engine, &physical));
}

#[test]
fn what_another_kvm_would_make_of_it_says_so_in_its_heading() {
    let mut engine = engine(MapRules::Overwrite, None).as_kvm(Some(MapRules::ConflictDisables));
    feed(&mut engine, 0, seen(1, 100, 0));
    feed(
        &mut engine,
        MS,
        [read(sample(1, MS, bigsmp(4), MapRules::Overwrite))],
    );
    golden("snapshot-as-kvm", &table(&engine));
    golden("deliver-as-kvm", &deliveries_of(&engine, &every_destination()));
}

fn every_destination() -> Question {
    Question {
        destinations: (0..=255).collect(),
        destination_mode: DestinationMode::Logical,
        delivery_mode: DeliveryMode::Fixed,
        only_bad: false,
    }
}

fn deliveries_of(engine: &Engine, question: &Question) -> String {
    let view = engine.view(BootTime(MS));
    let answers: Vec<_> = view
        .vms
        .iter()
        .map(|vm| (vm.identity, deliveries(vm.vm, question).unwrap()))
        .collect();
    let mut text = Vec::new();
    deliver_table::write(&mut text, &view, question, &answers, WALL, NARROW).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    text
}

#[test]
fn vcpus_that_look_the_same_share_a_row() {
    let rules = MapRules::ConflictDisables;
    let mut engine = engine(rules, None);
    feed(&mut engine, 0, seen(1, 100, 0));
    let mut vcpus = bigsmp(200);
    for vcpu in &mut vcpus[2..] {
        vcpu.lapic = Lapic::power_on(vcpu.id);
    }
    feed(&mut engine, 0, [read(sample(1, 0, vcpus, rules))]);
    let text = table(&engine);
    assert!(text.contains("  2-199     2-199"), "{text}");
    assert!(text.lines().count() < 40, "{text}");
}
