//! Every JSON document against the schema that ships with it.

use std::{fs, path::PathBuf};

use jsonschema::Validator;
use ldrscope::{
    clock::WallClock,
    engine::{
        Engine,
        deliveries::{Question, deliveries},
        output::{Output, Status, StatusKind},
        view::VmView,
    },
    identity::VmIdentity,
    kernel::{
        diagnosis::{Facts, diagnose},
        obstacle::Obstacle,
        support::KernelSupport,
    },
    observer::Report,
    sink::{Sink, deliver_json, doctor, jsonl::JsonLines, snapshot_json},
};
use probe_apic::{
    apicv::Inhibit,
    cause::Task,
    delivery::{DeliveryMode, DestinationMode},
    id::{BootTime, VcpuId, VmId},
    map_rules::MapRules,
    observation::{Irqchip, Observation, Touch, Touched, VmSample},
    reg::Dfr,
};
use serde_json::Value;

use crate::fixture::{MS, SETTLE, UUID, bigsmp, engine, feed, gone, healthy, pin, read, sample, seen, vcpu};

const WALL: WallClock = WallClock::booted_at(1_700_000_000_000_000_000);

fn schema(name: &str) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/schema/{name}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

#[track_caller]
pub(crate) fn hold(document: &Value) {
    let schema = schema(document["schema"].as_str().unwrap());
    let validator: Validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}\n{document:#}");
}

fn lines(outputs: &[Output]) -> Vec<Value> {
    let mut text = Vec::new();
    let mut sink = JsonLines::new(&mut text);
    for output in outputs {
        sink.emit(output, WALL).unwrap();
    }
    String::from_utf8(text)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn snapshot(engine: &Engine, at: u64) -> Value {
    let mut text = Vec::new();
    snapshot_json::write(&mut text, &engine.view(BootTime(at)), WALL).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// A guest write of LDR by the thread of vCPU 1, as the cold hooks see it.
fn touched(at: u64) -> Report {
    let vcpu = bigsmp(2)[1];
    Report::Observation(Observation::Touched(Touched {
        vm: VmId(1),
        at: BootTime(at),
        recalculations: at,
        what: Touch::Recalculated,
        vcpu: Some(VcpuId(1)),
        lapic: Some(vcpu.lapic),
        task: Task {
            tid: 101,
            tgid: 100,
            comm: "CPU 1/KVM\x1b".into(),
        },
    }))
}

/// Every kind of state under every kind of rules.
fn eventful(rules: MapRules) -> Vec<Output> {
    let mut engine = engine(rules, None);
    feed(&mut engine, 0, seen(1, 100, 0));
    feed(&mut engine, 0, seen(2, 200, 0));
    let mut outputs = feed(
        &mut engine,
        MS,
        [read(sample(1, MS, healthy(2), rules)), touched(2 * MS)],
    );
    let mut odd = bigsmp(16);
    odd[3].lapic.dfr = Dfr(0x1234_5678);
    odd[4].lapic.sw_enabled = false;
    let mut aimed = sample(1, 2 * MS, odd, rules);
    aimed.aims.push(pin(2, 0x01));
    outputs.extend(feed(
        &mut engine,
        2 * MS,
        [read(aimed), read(sample(2, 2 * MS, bigsmp(4), rules))],
    ));
    outputs.extend(engine.poll(BootTime(2 * MS + SETTLE)));
    outputs.extend(feed(
        &mut engine,
        3 * SETTLE,
        [Report::Dropped { records: 3 }, gone(2, 3 * SETTLE)],
    ));
    outputs.extend(feed(
        &mut engine,
        20 * SETTLE,
        [read(sample(1, 20 * SETTLE, healthy(8), rules))],
    ));
    outputs.extend(engine.poll(BootTime(30 * SETTLE)));
    outputs
}

#[test]
fn every_line_of_a_watch_holds_to_its_schema() {
    for rules in MapRules::ALL {
        let documents = lines(&eventful(rules));
        documents.iter().for_each(hold);
        let of = |field: &str, word: &str| documents.iter().any(|document| document[field] == word);
        for word in ["raised", "cleared"] {
            assert!(of("event", word), "{} {word}", rules.name());
        }
        for word in ["lost", "uncertain", "certain", "vm-gone"] {
            assert!(of("status", word), "{} {word}", rules.name());
        }
    }
}

#[test]
fn a_cause_keeps_its_hostile_comm_whole_and_its_line_harmless() {
    let outputs = eventful(MapRules::Overwrite);
    let documents = lines(&outputs);
    let comms: Vec<&str> = documents
        .iter()
        .filter_map(|document| document["finding"]["cause"]["comm"].as_str())
        .collect();
    assert!(comms.contains(&"CPU 1/KVM\x1b"), "{comms:?}");
    let mut text = Vec::new();
    let mut sink = JsonLines::new(&mut text);
    outputs
        .iter()
        .try_for_each(|output| sink.emit(output, WALL))
        .unwrap();
    assert!(text.iter().all(|byte| *byte == b'\n' || *byte >= b' '));
}

#[test]
fn snapshots_hold_to_their_schema_whatever_the_vms_are() {
    for rules in MapRules::ALL {
        let mut engine = engine(rules, None);
        hold(&snapshot(&engine, 0));
        for (vm, pid) in [(1, 100), (2, 200), (3, 300), (4, 200)] {
            feed(&mut engine, 0, seen(vm, pid, 0));
        }
        let mut userspace = sample(2, MS, Vec::new(), rules);
        userspace.irqchip = Irqchip::Userspace;
        let mut null = sample(3, MS, healthy(4), rules);
        null.published = None;
        let mut inhibited = sample(1, MS, bigsmp(16), rules);
        inhibited.apicv_inhibits = ["logical_id_aliased", "bit-40"]
            .map(Inhibit::named)
            .into_iter()
            .collect();
        inhibited.aims.push(pin(2, 0x01));
        feed(&mut engine, MS, [inhibited, userspace, null].map(read));
        let document = snapshot(&engine, MS);
        hold(&document);

        let vms = document["vms"].as_array().unwrap();
        assert_eq!(vms.len(), 3, "one that was never read is still being created");
        assert_eq!(
            vms[0]["apicv"]["inhibits"],
            serde_json::json!(["logical_id_aliased", "bit-40"])
        );
        assert_eq!(vms[0]["aimed"][0]["dest"], 1);
        assert_eq!(vms[1]["confidence"], "unobservable");
        assert_eq!(vms[1]["map"]["published"], Value::Null);
        assert_eq!(vms[2]["map"]["published"]["mode"], "none");
        assert_eq!(vms[2]["name"], "pid 300");
    }
}

#[test]
fn deliveries_hold_to_their_schema_whatever_the_vm_is() {
    let every = |only_bad| Question {
        destinations: (0..=255).collect(),
        destination_mode: DestinationMode::Logical,
        delivery_mode: DeliveryMode::Fixed,
        only_bad,
    };
    for rules in MapRules::ALL {
        let mut engine = engine(rules, None);
        for (vm, pid) in [(1, 100), (2, 200), (3, 300)] {
            feed(&mut engine, 0, seen(vm, pid, 0));
        }
        let mut userspace = sample(2, MS, Vec::new(), rules);
        userspace.irqchip = Irqchip::Userspace;
        let mut null = sample(3, MS, healthy(4), rules);
        null.published = None;
        // A map that is not what the registers call for is believed at the second read.
        let again = VmSample {
            at: BootTime(100 * MS),
            ..null.clone()
        };
        let reads = [sample(1, MS, bigsmp(16), rules), userspace, null, again];
        feed(&mut engine, MS, reads.map(read));
        let view = engine.view(BootTime(MS));
        let documents = |only_bad| -> Vec<Option<Value>> {
            let document = |vm: &VmView<'_>| {
                let answer = deliveries(vm.vm, &every(only_bad))?;
                let mut text = Vec::new();
                deliver_json::write(&mut text, &[(vm.identity, answer)]).unwrap();
                Some(serde_json::from_slice(&text).unwrap())
            };
            view.vms.iter().map(document).collect()
        };
        let [Some(bigsmp), None, Some(null)] = &documents(false)[..] else {
            panic!("of two of three VMs something can be told");
        };
        hold(bigsmp);
        hold(null);
        assert_eq!(bigsmp["vm"]["uuid"], UUID);
        assert_eq!(bigsmp["destinations"].as_array().unwrap().len(), 256);
        assert_eq!(null["mode"], "none");
        assert_eq!(
            null["destinations"][5],
            serde_json::json!({"dest": 5, "architecture": [0, 2], "kvm": [0, 2], "verdict": "slow"})
        );
        let bad = documents(true);
        let bad = bad[0].as_ref().unwrap();
        hold(bad);
        let bad = bad["destinations"].as_array().unwrap();
        assert!(bad.len() > 200 && bad.iter().all(|row| row["verdict"] != "ok"));
    }
}

#[test]
fn as_another_kvm_there_is_no_published_map_and_the_severity_is_its_own() {
    let crashed = || {
        let mut vcpus = bigsmp(16);
        vcpus[0] = vcpu(0, 1);
        let mut sample = sample(1, MS, vcpus, MapRules::ConflictDisables);
        sample.aims.push(pin(2, 0x01));
        sample
    };
    let worst = |as_kvm: Option<MapRules>| {
        let mut engine = engine(MapRules::ConflictDisables, None).as_kvm(as_kvm);
        feed(&mut engine, 0, seen(1, 100, 0));
        feed(&mut engine, MS, [read(crashed())]);
        let document = snapshot(&engine, MS);
        hold(&document);
        assert_eq!(document["host"]["map_rules"], "conflict-disables");
        let vm = &document["vms"][0];
        let map = &vm["map"];
        assert_eq!(map["published"].is_null(), as_kvm.is_some());
        assert_eq!(map["agrees"].is_null(), as_kvm.is_some());
        let findings = vm["findings"].as_array().unwrap();
        let critical = findings.iter().any(|finding| finding["severity"] == "critical");
        (map["rebuilt"]["mode"].as_str().unwrap().to_owned(), critical)
    };
    assert_eq!(worst(None), ("disabled".to_owned(), false));
    assert_eq!(worst(Some(MapRules::Overwrite)), ("flat".to_owned(), true));
    assert_eq!(
        worst(Some(MapRules::ConflictDisables)),
        ("disabled".to_owned(), false)
    );
}

#[test]
fn a_status_without_a_known_owner_holds_to_its_schema() {
    let status = Status {
        at: BootTime(0),
        vm: Some(VmIdentity::unknown()),
        kind: StatusKind::VmGone,
    };
    lines(&[Output::Status(status)]).iter().for_each(hold);
}

#[test]
fn what_was_left_out_or_lost_is_counted_by_its_schema() {
    let counted = |vm, kind| {
        let at = BootTime(0);
        let document = lines(&[Output::Status(Status { at, vm, kind })]).remove(0);
        hold(&document);
        assert_eq!(document["records"], u64::MAX);
        document["status"].as_str().unwrap().to_owned()
    };
    let lines = u64::MAX;
    let suppressed = counted(Some(VmIdentity::unknown()), StatusKind::Suppressed { lines });
    let lost = counted(None, StatusKind::OutputLost { lines });
    let uncounted = counted(None, StatusKind::Uncounted { interrupts: lines });
    assert_eq!(
        [suppressed.as_str(), lost.as_str(), uncounted.as_str()],
        ["suppressed", "output-lost", "uncounted"]
    );
}

#[test]
fn doctor_holds_to_its_schema_on_this_very_host() {
    let missing = Obstacle::FieldMissing {
        path: "kvm_lapic.regs".to_owned(),
    };
    let support = KernelSupport::probe();
    let checks = diagnose(&Facts {
        support: &support,
        symbols: None,
        layout: Err(&missing),
        btf_named: false,
        rehearsal: None,
    });
    let mut text = Vec::new();
    doctor::write_json(&mut text, &checks).unwrap();
    hold(&serde_json::from_slice(&text).unwrap());
}

#[test]
fn what_two_schemas_define_under_one_name_is_the_same() {
    let names = ["deliver", "diff", "event", "snapshot", "status"];
    let documents = names.map(|name| schema(&format!("ldrscope.{name}.v1")));
    for (name, definition) in documents.iter().flat_map(|one| one["$defs"].as_object().unwrap()) {
        for other in &documents {
            let theirs = &other["$defs"][name];
            assert!(theirs.is_null() || theirs == definition, "{name}");
        }
    }
}
