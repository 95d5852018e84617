//! Snapshots made by hand, a difference each.

use serde_json::{Value, json};

use super::*;
use crate::message::diff::{FindingChange, MatchedBy, Presence};

fn vcpu(id: u32, logical_id: u32) -> Value {
    json!({"vcpu_id": id, "apic_id": id, "mode": "xapic", "hw_enabled": true, "sw_enabled": true,
           "ldr": logical_id << 24, "dfr": 0xffff_ffff_u32, "svr": 0x1ff, "apic_base": 0xfee0_0800_u64})
}

fn map(owners: &[u32]) -> Value {
    let slots: Vec<Value> = (0..)
        .zip(owners)
        .map(|(bit, owner)| json!({"cluster": 0, "bit": bit, "vcpu_id": owner}))
        .collect();
    json!({"mode": "flat", "slots": slots, "physical": [{"apic_id": 0, "vcpu_id": 0}]})
}

fn vm(name: &str, uuid: Option<&str>, pid: u32) -> Value {
    json!({"name": name, "uuid": uuid, "vmm": "qemu", "pid": pid, "confidence": "certain",
           "vcpus": [vcpu(0, 1), vcpu(1, 2)],
           "map": {"published": map(&[0, 1]), "rebuilt": map(&[0, 1]), "agrees": true},
           "apicv": {"inhibits": ["b"]},
           "aimed": [{"source": "ioapic", "index": 2, "dest": 1, "vector": 48}],
           "findings": []})
}

fn finding(rule: &str, severity: &str, bit: u8) -> Value {
    json!({"id": "0", "rule": rule, "severity": severity, "vcpus": [0], "slots": [{"cluster": 0, "bit": bit}],
           "since": null, "summary": "s", "confidence": "certain", "suspected": false,
           "effect": {"lost": 0, "misrouted": 0, "partial": 0, "slow": false}, "evidence": [], "cause": null})
}

fn snapshot(vms: Vec<Value>) -> Snapshot {
    serde_json::from_value(json!({"schema": "ldrscope.snapshot.v1", "taken_at": "t",
        "host": {"kernel": "k", "kvm_vendor": "amd", "map_rules": "overwrite"}, "vms": vms}))
    .unwrap()
}

fn diff(before: Vec<Value>, after: Vec<Value>) -> Diff {
    of(&snapshot(before), &snapshot(after))
}

fn of(before: &Snapshot, after: &Snapshot) -> Diff {
    let named = |source, snapshot| Named { source, snapshot };
    compare(named("a", before), named("b", after))
}

const ONE: &str = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";
const OTHER: &str = "11111111-2222-3333-4444-555555555555";

#[test]
fn a_snapshot_does_not_differ_from_itself() {
    let all = || vec![vm("a", Some(ONE), 1), vm("b", None, 2), vm("b", None, 2)];
    let diff = diff(all(), all());
    assert_eq!((diff.different, diff.same, diff.vms.len()), (false, 3, 0));
}

#[test]
fn vms_are_found_again_by_uuid_then_pid_then_name() {
    let matched = |before: Value, after: Value| {
        let diff = diff(vec![before], vec![after]);
        diff.vms
            .iter()
            .map(|vm| (vm.change, vm.matched_by))
            .collect::<Vec<_>>()
    };
    let changed = |by| vec![(Presence::Changed, Some(by))];
    assert_eq!(
        matched(vm("a", Some(ONE), 1), vm("b", Some(ONE), 2)),
        changed(MatchedBy::Uuid)
    );
    assert_eq!(
        matched(vm("a", None, 1), vm("a", Some(ONE), 1)),
        changed(MatchedBy::Pid)
    );
    assert_eq!(
        matched(vm("a", None, 1), vm("a", None, 2)),
        changed(MatchedBy::Name)
    );
    let apart = vec![(Presence::Came, None), (Presence::Went, None)];
    assert_eq!(matched(vm("a", Some(ONE), 1), vm("a", Some(OTHER), 1)), apart);
    assert_eq!(matched(vm("a", None, 1), vm("b", None, 1)), apart);
}

#[test]
fn the_process_tells_twins_of_one_uuid_apart() {
    let diff = diff(
        vec![vm("a", Some(ONE), 1), vm("a", Some(ONE), 2)],
        vec![vm("a", Some(ONE), 2)],
    );
    assert_eq!((diff.same, diff.vms.len()), (1, 1));
    assert_eq!(diff.vms[0].before.as_ref().unwrap().pid, Some(1));
}

#[test]
fn a_name_that_several_have_finds_nobody() {
    let diff = diff(
        vec![vm("a", None, 1), vm("a", None, 2)],
        vec![vm("a", None, 3), vm("a", None, 4)],
    );
    assert_eq!(diff.vms.len(), 4);
}

#[test]
fn registers_slots_and_sources_are_compared_one_by_one() {
    let before = vm("a", Some(ONE), 1);
    let mut after = before.clone();
    after["vcpus"][1]["ldr"] = json!(3_u32 << 24);
    after["vcpus"][1]["sw_enabled"] = json!(false);
    after["vcpus"].as_array_mut().unwrap().push(vcpu(7, 4));
    after["map"] = json!({"published": map(&[1]), "rebuilt": null, "agrees": null});
    after["apicv"]["inhibits"] = json!(["c"]);
    after["aimed"][0]["dest"] = json!(2);
    let diff = diff(vec![before], vec![after]);
    let vm = &diff.vms[0];

    assert_eq!(vm.vcpus.len(), 2);
    assert_eq!(vm.vcpus[0].differs, ["sw_enabled", "ldr"]);
    let slot = |bit| crate::message::Slot { cluster: 0, bit };
    assert_eq!(vm.vcpus[0].claims.before, [slot(1)]);
    assert_eq!(vm.vcpus[0].claims.after, [], "a disabled APIC claims nothing");
    assert_eq!((vm.vcpus[1].vcpu_id, vm.vcpus[1].change), (7, Presence::Came));

    let published = vm.map.published.as_ref().unwrap();
    let owners: Vec<_> = published
        .slots
        .iter()
        .map(|slot| (slot.slot.bit, slot.before, slot.after))
        .collect();
    assert_eq!(owners, [(0, Some(0), Some(1)), (1, Some(1), None)]);
    assert!(published.physical.is_empty());
    let rebuilt = vm.map.rebuilt.as_ref().unwrap();
    assert_eq!(
        (rebuilt.mode.before.as_deref(), rebuilt.mode.after.as_deref()),
        (Some("flat"), None)
    );
    assert_eq!(vm.map.agrees.as_ref().unwrap().before, Some(true));
    assert_eq!(
        (&vm.apicv.set[..], &vm.apicv.cleared[..]),
        (&["c".to_owned()][..], &["b".to_owned()][..])
    );
    assert_eq!((vm.aimed.came[0].dest, vm.aimed.went[0].dest), (2, 1));
}

#[test]
fn findings_are_raised_cleared_or_changed_whatever_their_ids() {
    let mut before = vm("a", Some(ONE), 1);
    let mut after = before.clone();
    before["findings"] = json!([
        finding("ldr-stale", "info", 0),
        finding("ldr-collision", "warning", 0),
        finding("map-disabled", "warning", 0)
    ]);
    let mut same = finding("map-disabled", "warning", 0);
    same["id"] = json!("1");
    same["since"] = json!("yesterday");
    after["findings"] = json!([
        finding("ldr-collision", "critical", 0),
        finding("ldr-collision", "warning", 1),
        same
    ]);
    let diff = diff(vec![before], vec![after]);
    let told: Vec<_> = diff.vms[0]
        .findings
        .iter()
        .map(|one| (one.change, one.differs.clone()))
        .collect();
    assert_eq!(
        told,
        [
            (FindingChange::Changed, vec!["severity"]),
            (FindingChange::Raised, vec![]),
            (FindingChange::Cleared, vec![]),
        ]
    );
}

#[test]
fn another_host_is_a_difference_and_another_time_is_none() {
    let before = snapshot(Vec::new());
    let mut after = before.clone();
    after.taken_at = "later".to_owned();
    assert!(!of(&before, &after).different);
    after.host.map_rules = "conflict-disables".into();
    let diff = of(&before, &after);
    assert_eq!((diff.different, diff.host), (true, vec!["map_rules"]));
}
