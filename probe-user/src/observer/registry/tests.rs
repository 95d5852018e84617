//! What is said of VMs, and when.

use probe_apic::observation::Observation;
use probe_common::{
    decode::EnteredRoute,
    window::{CANARY_SIGNATURE, Stamp, Vcpu, VmCopy},
};

use super::*;
use crate::kernel::{inhibits::InhibitTable, layout::MapModeKind};

const KVM: u64 = 0xffff_8880_1234_0000;
const A: VmId = VmId(2);
const B: VmId = VmId(4);

fn event(vm: VmId, kind: Kind, comm: &str) -> Decoded {
    let mut name = [0; 16];
    name[..comm.len()].copy_from_slice(comm.as_bytes());
    Decoded {
        at: 1000,
        kvm: KVM,
        generation: Some(vm.0),
        recalculations: 0,
        tid: 11,
        tgid: 10,
        comm: name,
        vcpu_id: None,
        regs: None,
        kind,
    }
}

fn debugfs_name() -> [u8; 32] {
    let mut name = [0; 32];
    name[..5].copy_from_slice(b"11-30");
    name
}

/// A reading of a listed VM with that many vCPUs.
fn reading(vm: VmId, vcpus: usize) -> Reading {
    let stamp = Stamp {
        generation: vm.0,
        linked: 1,
        online_vcpus: vcpus as u32,
        ..bytemuck::Zeroable::zeroed()
    };
    let copy = VmCopy {
        made: 1,
        before: stamp,
        after: stamp,
        owner_tgid: 10,
        name: debugfs_name(),
        ..bytemuck::Zeroable::zeroed()
    };
    Reading {
        copy: Box::new(copy),
        vcpus: vec![bytemuck::Zeroable::zeroed(); vcpus],
        physical: Vec::new(),
        routes: Vec::new(),
        steady: true,
    }
}

fn words(out: &mut Vec<Report>) -> Vec<&'static str> {
    let word = |report: Report| match report {
        Report::Observation(Observation::VmSeen(_)) => "seen",
        Report::Observation(Observation::VmGone(_)) => "gone",
        Report::Observation(Observation::Touched(_)) => "touched",
        Report::Observation(Observation::Sample(_)) => "sample",
        Report::Observation(Observation::Lost(_)) => "lost",
        Report::Observation(Observation::Skipped(_)) => "skipped",
        Report::Observation(Observation::Sent(_)) => "sent",
        Report::Process { .. } => "process",
        Report::Dropped { .. } => "dropped",
        Report::Uncounted { .. } => "uncounted",
    };
    out.drain(..).map(word).collect()
}

fn registry() -> (Registry, Vec<Report>) {
    (
        Registry::new(Encoding {
            map_mode: MapModeKind::Enum,
            inhibits: InhibitTable::default(),
            tells_owner: true,
        }),
        Vec::new(),
    )
}

#[test]
fn a_vm_is_reported_before_anything_about_it() {
    let (mut vms, mut out) = registry();
    vms.take_event(&event(A, Kind::VmBorn, "qemu"), &mut out);
    vms.take_event(&event(A, Kind::Entered(EnteredRoute::Reset), "qemu"), &mut out);
    assert_eq!(vms.stale(BootTime(2000)), [(KVM, A)]);
    vms.take_reading(KVM, A, reading(A, 1), BootTime(2000), &mut out);
    assert_eq!(
        words(&mut out),
        ["seen", "process", "touched", "process", "sample"]
    );
    assert!(vms.stale(BootTime(2000)).is_empty());
}

#[test]
fn an_address_used_again_is_another_vm() {
    let (mut vms, mut out) = registry();
    vms.take_event(&event(A, Kind::VmBorn, "qemu"), &mut out);
    vms.take_event(&event(B, Kind::VmBorn, "qemu"), &mut out);
    assert_eq!(words(&mut out), ["seen", "process", "gone", "seen", "process"]);
    vms.take_event(&event(A, Kind::VmGone, "qemu"), &mut out);
    assert_eq!(words(&mut out), [""; 0], "the end of the first is old news");
    vms.take_event(&event(B, Kind::VmGone, "qemu"), &mut out);
    assert_eq!(words(&mut out), ["gone"]);
}

#[test]
fn a_vm_whose_birth_was_lost_makes_the_list_be_walked_again() {
    let (mut vms, mut out) = registry();
    vms.scanned();
    vms.take_event(&event(A, Kind::VcpuBorn, "qemu"), &mut out);
    assert!(vms.needs_scan());
    assert_eq!(words(&mut out), [""; 0]);
    vms.found(KVM, A, "qemu", BootTime(1000), &mut out);
    vms.take_reading(KVM, A, reading(A, 1), BootTime(2000), &mut out);
    assert_eq!(words(&mut out), ["seen", "process", "sample"]);
}

#[test]
fn a_canary_of_any_copy_is_never_reported() {
    let (mut vms, mut out) = registry();
    vms.take_event(&event(A, Kind::VmBorn, "ldrscope"), &mut out);
    vms.take_reading(KVM, A, reading(A, 1), BootTime(1500), &mut out);
    let canary = Vcpu {
        signature: CANARY_SIGNATURE,
        ..bytemuck::Zeroable::zeroed()
    };
    let signed = Reading {
        vcpus: vec![canary],
        ..reading(A, 1)
    };
    vms.take_reading(KVM, A, signed, BootTime(2000), &mut out);
    vms.take_event(&event(A, Kind::VmGone, "ldrscope"), &mut out);
    assert_eq!(words(&mut out), [""; 0]);
}

#[test]
fn a_vm_that_never_appears_on_the_list_is_given_up() {
    let (mut vms, mut out) = registry();
    vms.take_event(&event(A, Kind::VmBorn, "qemu"), &mut out);
    let unlisted = |vm| {
        let mut reading = reading(vm, 0);
        reading.copy.before.linked = 0;
        reading
    };
    vms.take_reading(KVM, A, unlisted(A), BootTime(2000), &mut out);
    assert_eq!(words(&mut out), ["seen", "process"], "nothing is read of it");
    assert_eq!(
        vms.retry_at(BootTime(2000)),
        Some(BootTime(1000).plus(LISTING_GRACE_NS + 1))
    );
    vms.take_reading(
        KVM,
        A,
        unlisted(A),
        BootTime(1000).plus(2 * LISTING_GRACE_NS),
        &mut out,
    );
    assert_eq!(words(&mut out), ["gone"]);
}

#[test]
fn a_torn_reading_is_kept_back_for_a_while() {
    let (mut vms, mut out) = registry();
    vms.found(KVM, A, "qemu", BootTime(1000), &mut out);
    let torn = || Reading {
        steady: false,
        ..reading(A, 1)
    };
    vms.take_reading(KVM, A, torn(), BootTime(2000), &mut out);
    assert_eq!(words(&mut out), ["seen"]);
    assert!(vms.retry_at(BootTime(2000)).is_some());
    vms.take_reading(KVM, A, torn(), BootTime(2000).plus(TORN_GRACE_NS), &mut out);
    assert_eq!(words(&mut out), ["process", "sample"]);
    assert_eq!(vms.retry_at(BootTime(2000)), None);
}

#[test]
fn after_a_loss_every_reported_vm_is_doubted_and_read() {
    let (mut vms, mut out) = registry();
    vms.found(KVM, A, "qemu", BootTime(1000), &mut out);
    vms.take_reading(KVM, A, reading(A, 1), BootTime(2000), &mut out);
    vms.scanned();
    out.clear();
    vms.doubt_all(BootTime(3000));
    assert!(vms.needs_scan());
    assert_eq!(vms.stale(BootTime(2000)), [(KVM, A)]);
}

#[test]
fn a_canary_under_another_name_ends_for_the_outside_when_it_shows() {
    let (mut vms, mut out) = registry();
    vms.take_event(&event(A, Kind::VmBorn, "ldrscope-1.2"), &mut out);
    let canary = Vcpu {
        signature: CANARY_SIGNATURE,
        ..bytemuck::Zeroable::zeroed()
    };
    vms.take_reading(
        KVM,
        A,
        Reading {
            vcpus: vec![canary],
            ..reading(A, 1)
        },
        BootTime(2000),
        &mut out,
    );
    assert_eq!(words(&mut out), ["seen", "process", "gone"]);
    let two = Reading {
        vcpus: vec![canary; 2],
        ..reading(B, 2)
    };
    vms.take_event(&event(B, Kind::VmBorn, "qemu"), &mut out);
    vms.take_reading(KVM, B, two, BootTime(2000), &mut out);
    assert_eq!(
        words(&mut out),
        ["seen", "process", "process", "sample"],
        "a larger VM cannot hide"
    );
}

#[test]
fn a_vm_is_identified_again_once_it_has_a_name() {
    let (mut vms, mut out) = registry();
    vms.take_event(&event(A, Kind::VmBorn, "qemu"), &mut out);
    let mut nameless = reading(A, 1);
    nameless.copy.name = [0; 32];
    vms.take_reading(KVM, A, nameless, BootTime(2000), &mut out);
    assert_eq!(words(&mut out), ["seen", "process", "sample"]);
    vms.take_reading(KVM, A, reading(A, 1), BootTime(3000), &mut out);
    assert_eq!(words(&mut out), ["process", "sample"]);
}
