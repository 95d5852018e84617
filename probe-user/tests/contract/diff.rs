//! `diff`: snapshots of fabricated hosts, read back and compared; the text against a golden file, the JSON against its schema, and
//! the binary on what is no snapshot.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use ldrscope::{
    clock::WallClock,
    diff::{Named, compare},
    engine::Engine,
    escape::is_unsafe,
    message::{Snapshot, diff::Diff, read},
    sink::{
        diff_json, diff_text,
        html::{Page, render},
        snapshot_json,
        terminal::Style,
    },
};
use probe_apic::{apicv::Inhibit, id::BootTime, lapic::Lapic, map_rules::MapRules};
use serde_json::Value;

use crate::{
    command_line::{ldrscope, run},
    fixture::{MS, bigsmp, engine, feed, golden, healthy, pin, read as sampled, sample, seen, vcpu},
    schema::hold,
};

const WALL: WallClock = WallClock::booted_at(1_700_000_000_000_000_000);
const RULES: MapRules = MapRules::Overwrite;

fn json(engine: &Engine) -> Vec<u8> {
    let mut text = Vec::new();
    snapshot_json::write(&mut text, &engine.view(BootTime(MS)), WALL).unwrap();
    text
}

/// A guest that runs well, and one with a hostile name that will go.
fn before() -> Vec<u8> {
    let mut engine = engine(RULES, None);
    feed(&mut engine, 0, seen(1, 100, 0));
    feed(&mut engine, 0, seen(2, 200, 0));
    let reads = [sample(1, MS, healthy(8), RULES), sample(2, MS, bigsmp(4), RULES)];
    feed(&mut engine, MS, reads.map(sampled));
    json(&engine)
}

/// The first one's kdump kernel, under 2019's registers; one that came.
fn after() -> Vec<u8> {
    let rules = MapRules::ConflictDisables;
    let mut engine = engine(rules, None);
    feed(&mut engine, 0, seen(1, 100, 0));
    feed(&mut engine, 0, seen(3, 300, 0));
    let mut vcpus = bigsmp(8);
    vcpus[0] = vcpu(0, 1);
    for dead in &mut vcpus[5..] {
        dead.lapic.sw_enabled = false;
    }
    let mut crashed = sample(1, MS, vcpus, rules);
    crashed.aims.push(pin(2, 0x01));
    crashed.apicv_inhibits = [Inhibit::named("logical_id_aliased")].into_iter().collect();
    feed(
        &mut engine,
        MS,
        [crashed, sample(3, MS, healthy(2), rules)].map(sampled),
    );
    json(&engine)
}

/// A VM with something of everything.
fn small() -> Vec<u8> {
    let mut engine = engine(RULES, None);
    feed(&mut engine, 0, seen(1, 100, 0));
    let mut crashed = sample(1, MS, bigsmp(4), RULES);
    crashed.aims.push(pin(2, 0x01));
    crashed.apicv_inhibits = [Inhibit::named("logical_id_aliased")].into_iter().collect();
    feed(&mut engine, MS, [sampled(crashed)]);
    json(&engine)
}

fn snapshot(text: &[u8]) -> Snapshot {
    read::snapshot("a", text).unwrap()
}

fn diff(before: &[u8], after: &[u8]) -> Diff {
    let (before, after) = (snapshot(before), snapshot(after));
    let named = |source, snapshot| Named { source, snapshot };
    compare(named("before.json", &before), named("after\x1b[2J.json", &after))
}

fn text(diff: &Diff, width: Option<usize>) -> String {
    let mut text = Vec::new();
    let style = Style { colour: false, width };
    diff_text::write(&mut text, diff, style).unwrap();
    String::from_utf8(text).unwrap()
}

fn document(diff: &Diff) -> Value {
    let mut text = Vec::new();
    diff_json::write(&mut text, diff).unwrap();
    let document = serde_json::from_slice(&text).unwrap();
    hold(&document);
    document
}

fn file(directory: &Path, name: &str, text: &[u8]) -> String {
    let path: PathBuf = directory.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_snapshot_that_was_read_back_is_written_the_same() {
    for text in [before(), after()] {
        let again = serde_json::to_value(snapshot(&text)).unwrap();
        assert_eq!(again, serde_json::from_slice::<Value>(&text).unwrap());
    }
}

#[test]
fn what_changed_in_80_columns_and_in_none() {
    let diff = diff(&before(), &after());
    let narrow = text(&diff, Some(80));
    golden("diff-80", &narrow);
    assert!(narrow.lines().all(|line| line.chars().count() <= 80), "{narrow}");
    golden("diff-pipe", &text(&diff, None));
    let tiny = text(&diff, Some(40));
    assert!(tiny.lines().all(|line| line.chars().count() <= 60), "{tiny}");
}

#[test]
fn the_document_holds_to_its_schema_both_ways() {
    for (before, after) in [(before(), after()), (after(), before()), (before(), before())] {
        let document = document(&diff(&before, &after));
        assert_eq!(document["different"], before != after);
    }
    let document = document(&diff(&before(), &after()));
    let words = |place: &str| -> Vec<&str> {
        let vms = document["vms"].as_array().unwrap();
        vms.iter().map(|vm| vm[place].as_str().unwrap()).collect()
    };
    assert_eq!(words("change"), ["changed", "came", "went"]);
    assert_eq!(document["host"], serde_json::json!(["map_rules"]));
    assert_eq!(document["after"]["source"], "after\x1b[2J.json");
    let web = &document["vms"][0];
    assert_eq!(web["matched_by"], "uuid");
    assert_eq!(web["vcpus"][0]["vcpu_id"], 1, "vCPU 0 is as it was");
    assert_eq!(
        web["vcpus"][1]["claims"]["before"],
        serde_json::json!([{"cluster": 0, "bit": 2}])
    );
    assert_eq!(
        web["map"]["published"]["mode"],
        serde_json::json!({"before": "flat", "after": "disabled"})
    );
    assert_eq!(web["apicv"]["set"], serde_json::json!(["logical_id_aliased"]));
    assert_eq!(web["aimed"]["came"][0]["index"], 2);
}

#[test]
fn a_thousand_vcpus_that_change_alike_are_one_line() {
    let of = |change: fn(&mut Lapic)| {
        let mut engine = engine(RULES, None);
        feed(&mut engine, 0, seen(1, 100, 0));
        let mut vcpus: Vec<_> = (0..1024).map(|number| vcpu(number, 0)).collect();
        vcpus.iter_mut().for_each(|vcpu| change(&mut vcpu.lapic));
        feed(&mut engine, MS, [sampled(sample(1, MS, vcpus, RULES))]);
        json(&engine)
    };
    let alike = text(
        &diff(&of(|_| ()), &of(|lapic| lapic.sw_enabled = false)),
        Some(80),
    );
    assert!(
        alike.contains("  vCPUs 0-1023\n    enabled   yes -> sw off\n"),
        "{alike}"
    );
    let each = of(|lapic| lapic.svr.0 = lapic.id >> 24 | lapic.apic_base.0 as u32 & 0x100);
    assert!(text(&diff(&of(|_| ()), &each), Some(80)).lines().count() < 90);
}

/// Each value of a snapshot in turn becomes an odd one: what is then still a snapshot is compared and drawn.
#[test]
fn an_odd_value_anywhere_is_refused_or_shown() {
    fn places(value: &Value, path: String, all: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                for (key, value) in members {
                    places(value, format!("{path}/{key}"), all);
                }
            }
            Value::Array(items) => {
                for (index, value) in items.iter().enumerate() {
                    places(value, format!("{path}/{index}"), all);
                }
            }
            _ => {}
        }
        all.push(path);
    }
    let good: Value = serde_json::from_slice(&small()).unwrap();
    let mut all = Vec::new();
    places(&good, String::new(), &mut all);
    let odd = [
        Value::Null,
        serde_json::json!("\u{202e}<b>\x1b[2J"),
        serde_json::json!(u64::from(u32::MAX)),
        serde_json::json!(0),
        serde_json::json!([]),
    ];
    let sane = snapshot(&small());
    let (mut refused, mut shown) = (0, 0);
    for place in all {
        for value in &odd {
            let mut document = good.clone();
            *document.pointer_mut(&place).unwrap() = value.clone();
            let Ok(snapshot) = read::snapshot("odd", document.to_string().as_bytes()) else {
                refused += 1;
                continue;
            };
            shown += 1;
            let named = |source, snapshot| Named { source, snapshot };
            let difference = compare(named("a", &sane), named("b", &snapshot));
            let page = render(&Page {
                snapshot: &snapshot,
                deliveries: &[],
                as_kvm: None,
            });
            for text in [text(&difference, Some(80)), page] {
                assert!(text.chars().all(|one| one == '\n' || !is_unsafe(one)), "{place}");
            }
        }
    }
    assert!(refused > 500 && shown > 200, "{refused} {shown}");
}

#[test]
fn the_exit_code_tells_of_differences_only_when_asked() {
    let directory = tempfile::tempdir().unwrap();
    let one = file(directory.path(), "one.json", &before());
    let other = file(directory.path(), "other.json", &after());
    let code = |arguments: &[&str]| run(arguments).0;
    assert_eq!(code(&["diff", &one, &other]), Some(0));
    assert_eq!(code(&["diff", "--exit-code", &one, &other]), Some(1));
    let (same, stdout, _) = run(&["diff", "--exit-code", &one, &one]);
    assert_eq!(same, Some(0));
    assert!(
        stdout.ends_with("\n2 VMs are the same in both; nothing differs.\n"),
        "{stdout}"
    );
    assert_eq!(code(&["diff", "--vm", "300", &one, &other]), Some(0));
    let (no_vm, _, stderr) = run(&["diff", "--vm", "db", &one, &other]);
    assert_eq!(no_vm, Some(2));
    assert!(
        stderr.starts_with("error[no-such-vm]: no VM matches `db`: there are e\\x1b"),
        "{stderr}"
    );
}

#[test]
fn one_of_them_may_come_from_the_standard_input() {
    let directory = tempfile::tempdir().unwrap();
    let one = file(directory.path(), "one.json", &before());
    let mut child = ldrscope(&["diff", "--format", "json", &one, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&after()).unwrap();
    let output = child.wait_with_output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    hold(&document);
    assert_eq!(document["after"]["source"], "standard input");
    let (code, _, stderr) = run(&["diff", "-", "-"]);
    assert_eq!(code, Some(2));
    assert!(
        stderr.starts_with("error[usage]: the standard input cannot be both"),
        "{stderr}"
    );
}

#[test]
fn what_is_no_snapshot_is_2_with_the_place() {
    let directory = tempfile::tempdir().unwrap();
    let good = file(directory.path(), "good.json", &before());
    let cut = &before()[..1000];
    let newer = String::from_utf8(before())
        .unwrap()
        .replace("snapshot.v1", "snapshot.v9");
    let wrong =
        String::from_utf8(before())
            .unwrap()
            .replacen("\"sw_enabled\":true", "\"sw_enabled\":\"y\x7f\"", 1);
    for (name, bytes, said) in [
        (
            "cut.json",
            cut,
            "cut.json:1:1000: this is no JSON: EOF while parsing",
        ),
        (
            "newer.json",
            newer.as_bytes(),
            "newer.json is a document `ldrscope.snapshot.v9`; this ldrscope reads",
        ),
        (
            "wrong.json",
            wrong.as_bytes(),
            "`vms[0].vcpus[0].sw_enabled` is not as ldrscope.snapshot.v1 has it",
        ),
        (
            "not\x1b[31m.json",
            b"\xff\xfe",
            "not\\x1b[31m.json:1:1: this is no JSON",
        ),
    ] {
        let bad = file(directory.path(), name, bytes);
        for pair in [[&good, &bad], [&bad, &good]] {
            let (code, stdout, stderr) = run(&["diff", pair[0], pair[1]]);
            assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
            assert!(
                stderr.starts_with("error[bad-snapshot]: ") && stderr.contains(said),
                "{stderr}"
            );
            assert!(stderr.contains("\n  remedy: "), "{stderr}");
            assert!(
                stderr.chars().all(|one| one == '\n' || !is_unsafe(one)),
                "{stderr:?}"
            );
        }
    }
    let (code, _, stderr) = run(&["diff", &good, "/nonexistent.json"]);
    assert_eq!(code, Some(2));
    assert!(
        stderr.starts_with("error[bad-snapshot]: /nonexistent.json cannot be read: No such file"),
        "{stderr}"
    );
}
