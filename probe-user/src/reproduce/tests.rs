//! What can be reproduced of snapshots made by hand, and what cannot.

use probe_apic::delivery::{Destination, Verdict};
use serde_json::{Value, json};

use super::*;
use crate::message::read;

/// A vCPU with this logical ID, software-enabled unless it says otherwise.
fn vcpu(id: u32, logical: u32) -> Value {
    json!({
        "vcpu_id": id, "apic_id": id, "mode": "xapic", "hw_enabled": true, "sw_enabled": true,
        "ldr": logical << 24, "dfr": 0xffff_ffff_u32, "svr": 0x1ff, "apic_base": 0xfee0_0800_u32,
    })
}

fn snapshot(rules: &str, vms: &[Vec<Value>], aimed: &[(u32, u8)]) -> Snapshot {
    let aimed: Vec<Value> = aimed
        .iter()
        .map(|(dest, vector)| json!({"source": "ioapic", "index": 2, "dest": dest, "vector": vector}))
        .collect();
    let vms: Vec<Value> = vms
        .iter()
        .map(|vcpus| {
            json!({
                "name": "web", "uuid": null, "vmm": "qemu", "pid": 1, "confidence": "certain", "vcpus": vcpus,
                "map": {"published": null, "rebuilt": null, "agrees": null}, "apicv": {"inhibits": []},
                "aimed": aimed, "findings": [],
            })
        })
        .collect();
    let document = json!({
        "schema": Snapshot::SCHEMA, "taken_at": "t",
        "host": {"kernel": "k", "kvm_vendor": "amd", "map_rules": rules}, "vms": vms,
    });
    read::snapshot("a.json", document.to_string().as_bytes()).unwrap()
}

/// Slot 0 is claimed by vCPUs 0 and 1, slot 1 by vCPU 2 alone.
fn stolen() -> Vec<Value> {
    vec![vcpu(0, 1), vcpu(1, 1), vcpu(2, 2)]
}

#[test]
fn the_aimed_destination_that_breaks_is_tried_first() {
    let seen = snapshot("overwrite", &[stolen()], &[(0x02, 0x41), (0x03, 0x42)]);
    let tried = plan(&seen, None).unwrap();
    assert_eq!((tried.dest, tried.vector), (Destination::logical(3), 0x42));
    let who = |pick: fn(&Member) -> bool| -> Vec<usize> {
        let picked = tried.vcpus.iter().filter(|member| pick(member));
        picked.map(|member| member.at).collect()
    };
    assert_eq!(who(|member| member.named), [0, 1, 2]);
    assert_eq!(who(|member| member.reached), [1, 2]);
    assert_eq!(tried.verdict, Verdict::Partial);
}

#[test]
fn without_an_aim_the_first_that_breaks_is_tried_and_a_wish_comes_before_both() {
    let seen = snapshot("overwrite", &[stolen()], &[(0x02, 0x41)]);
    assert_eq!(plan(&seen, None).unwrap().dest, Destination::logical(1));
    let wish = plan(&seen, Some(Destination::logical(2))).unwrap();
    assert_eq!((wish.vector, wish.verdict), (0x41, Verdict::Ok));
    let physical = plan(&seen, Some(Destination::physical(2))).unwrap();
    assert_eq!((physical.vector, physical.verdict), (0x30, Verdict::Ok));
}

#[test]
fn a_vector_that_no_apic_takes_is_not_tried() {
    let seen = snapshot("overwrite", &[stolen()], &[(0x01, 3)]);
    assert_eq!(plan(&seen, None).unwrap().vector, ANY_VECTOR);
}

#[test]
fn large_ids_ask_for_wide_ones() {
    let seen = snapshot("overwrite", &[stolen()], &[]);
    assert!(!plan(&seen, None).unwrap().wide_ids);
    assert!(plan(&seen, Some(Destination::physical(0x100))).unwrap().wide_ids);
}

#[test]
fn what_cannot_be_reproduced_is_refused_by_a_sentence() {
    let refused = |seen: &Snapshot| {
        let error = plan(seen, None).unwrap_err();
        assert!(!error.remedy().is_empty());
        (error.to_string(), error.is_usage())
    };
    let (told, usage) = refused(&snapshot("overwrite", &[], &[]));
    assert_eq!((told.as_str(), usage), ("there is no VM in it", false));
    let (told, usage) = refused(&snapshot("overwrite", &[stolen(), stolen()], &[]));
    assert_eq!((told.as_str(), usage), ("there are 2 VMs in it: web, web", true));
    let (told, _) = refused(&snapshot("unknown", &[stolen()], &[]));
    assert!(
        told.starts_with("the map rules of the observed host are `unknown`"),
        "{told}"
    );
    let (told, _) = refused(&snapshot("overwrite", &[vec![]], &[]));
    assert_eq!(told, "web has no vCPU");
    let (told, _) = refused(&snapshot("overwrite", &[vec![vcpu(0, 1), vcpu(0, 2)]], &[]));
    assert_eq!(told, "web has two vCPUs of the number 0");
    let (told, usage) = refused(&snapshot("overwrite", &[vec![vcpu(0, 1), vcpu(1, 2)]], &[]));
    assert_eq!(
        (told.as_str(), usage),
        (
            "every logical destination of web reaches those that it names",
            true
        )
    );
    let mut odd = vcpu(0, 1);
    odd["sw_enabled"] = false.into();
    let (told, _) = refused(&snapshot("overwrite", &[vec![odd]], &[]));
    assert!(
        told.contains("vCPU 0 software-disabled against its SVR 0x000001ff"),
        "{told}"
    );
    let mut elsewhere = snapshot("overwrite", &[stolen()], &[]);
    elsewhere.vms[0].confidence = "unobservable".into();
    assert!(refused(&elsewhere).0.contains("live in its VMM"));
}
