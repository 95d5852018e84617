//! The journal against a receiver of the test's own, which decodes the protocol by its description, and against the real
//! journald where it is installed.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{IoSliceMut, Read as _, Seek as _},
    mem::MaybeUninit,
    os::unix::net::UnixDatagram,
    path::Path,
};

use probe_apic::{
    cause::{Cause, Register, Route, Task},
    finding::{Confidence, Effect, Finding, FindingKey, Rule, Severity},
    id::{Slot, VcpuId, VmId},
    tracker::{Change, ChangeKind},
};
use rustix::{
    fs::{SealFlags, fcntl_get_seals},
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
};
use tempfile::tempdir;

use super::*;
use crate::{engine::output::Event, identity::VmIdentity};

mod journald;

const WALL: WallClock = WallClock::booted_at(1_700_000_000_000_000_000);
const MS: u64 = 1_000_000;
const HOSTILE: &str = "we\x1b[2Jb\nPRIORITY=0\n\u{202e}\0";

fn vm(name: &str) -> VmIdentity {
    VmIdentity {
        name: name.to_owned(),
        uuid: Some("0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9".to_owned()),
        vmm: "qemu".to_owned(),
        pid: Some(4700),
        ..VmIdentity::unknown()
    }
}

fn collision(kind: ChangeKind, severity: Severity, name: &str, vcpus: u32) -> Output {
    let task = Task {
        tid: 4711,
        tgid: 4700,
        comm: "CPU 5/KVM\x1b".into(),
    };
    let slot = |bit| Slot { cluster: 2, bit };
    let finding = Finding {
        key: FindingKey {
            rule: Rule::LdrCollision,
            slot: Some(slot(0)),
        },
        severity,
        vcpus: (0..vcpus).map(VcpuId).collect(),
        slots: vec![slot(0), slot(3)],
        since: Some(BootTime(1_000_000_000)),
        summary: "slot 0 is \x1b claimed twice".to_owned(),
        confidence: Confidence::Certain,
        suspected: true,
        effect: Effect {
            partial: 127,
            ..Effect::default()
        },
        evidence: Vec::new(),
        cause: Some(Cause {
            at: BootTime(0),
            route: Route::GuestWrite,
            vcpu_id: Some(VcpuId(5)),
            task: Some(task),
            register: Some(Register::Ldr),
            old: Some(0),
            new: Some(0x0300_0000),
            guest_rip: None,
            certain: true,
        }),
    };
    let change = Change {
        vm: VmId(1),
        kind,
        finding,
        at: BootTime(1_200_000_000),
        latency_nanos: 1_500_000,
    };
    Output::Event(Box::new(Event { vm: vm(name), change }))
}

/// A status that is recognized by its count.
fn numbered(records: u64) -> Output {
    Output::Status(Status {
        at: BootTime(0),
        vm: None,
        kind: StatusKind::Lost { records },
    })
}

type Entry = BTreeMap<String, Vec<String>>;

/// By the description: NAME=VALUE and a line end, or NAME, a line end, 64 bits of length (little-endian), VALUE and a
/// line end.
fn decoded(mut bytes: &[u8]) -> Entry {
    let mut fields = Entry::new();
    while !bytes.is_empty() {
        let end = bytes.iter().position(|byte| b"=\n".contains(byte)).unwrap();
        let name = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let framed = bytes[end] == b'\n';
        bytes = &bytes[end + 1..];
        let length = if framed {
            let (length, rest) = bytes.split_at(8);
            bytes = rest;
            usize::try_from(u64::from_le_bytes(length.try_into().unwrap())).unwrap()
        } else {
            bytes.iter().position(|byte| *byte == b'\n').unwrap()
        };
        let value = String::from_utf8(bytes[..length].to_vec()).unwrap();
        assert_eq!(bytes[length], b'\n');
        bytes = &bytes[length + 1..];
        fields.entry(name).or_default().push(value);
    }
    fields
}

struct Receiver(UnixDatagram);

impl Receiver {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self(socket)
    }

    /// The next entry, however it was sent; whether in memory.
    fn next(&self) -> Option<(Entry, bool)> {
        let mut bytes = vec![0; 1 << 20];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(
            &self.0,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut control,
            RecvFlags::empty(),
        );
        let length = received.ok()?.bytes;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(mut descriptors) = message {
                let mut file = File::from(descriptors.next().unwrap());
                let sealed = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
                assert!(fcntl_get_seals(&file).unwrap().contains(sealed));
                assert_eq!(length, 0);
                let mut text = Vec::new();
                file.rewind().unwrap();
                file.read_to_end(&mut text).unwrap();
                return Some((decoded(&text), true));
            }
        }
        bytes.truncate(length);
        Some((decoded(&bytes), false))
    }

    fn counts(&self) -> Vec<(String, u64)> {
        let count = |entry: &Entry| (entry["STATUS"][0].clone(), entry["RECORDS"][0].parse().unwrap());
        std::iter::from_fn(|| self.next())
            .map(|(entry, _)| count(&entry))
            .collect()
    }
}

fn emit(journal: &mut Journal, output: &Output) {
    journal.emit(output, WALL, BootTime(0));
}

fn assert_is_the_collision(entry: &Entry) {
    let one = |name: &str| {
        assert_eq!(entry[name].len(), 1, "{name}");
        entry[name][0].as_str()
    };
    assert_eq!(
        one("MESSAGE"),
        "raised critical ldr-collision, VM we\\x1b[2Jb\\x0aPRIORITY=0\\x0a\\u{202e}\\x00 (pid 4700), \
         slots 2:0, 2:3 [suspected]: slot 0 is \\x1b claimed twice"
    );
    let id = format!("{:032x}", message_id::of_rule(Rule::LdrCollision));
    for (name, value) in [
        ("SYSLOG_IDENTIFIER", "ldrscope"),
        ("PRIORITY", "2"),
        ("MESSAGE_ID", id.as_str()),
        ("EVENT", "raised"),
        ("EVENT_TIME", "2023-11-14T22:13:21.200000Z"),
        ("LATENCY_US", "1500"),
        ("VM_NAME", HOSTILE),
        ("VM_UUID", "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"),
        ("VM_PID", "4700"),
        ("VMM", "qemu"),
        ("RULE", "ldr-collision"),
        ("SEVERITY", "critical"),
        ("CONFIDENCE", "certain"),
        ("SUSPECTED", "1"),
        ("SINCE", "2023-11-14T22:13:21.000000Z"),
        ("EFFECT_PARTIAL", "127"),
        ("EFFECT_SLOW", "0"),
        ("VCPU_COUNT", "3"),
        ("CAUSE_ROUTE", "guest-write"),
        ("CAUSE_VCPU", "5"),
        ("CAUSE_TID", "4711"),
        ("CAUSE_COMM", "CPU 5/KVM\x1b"),
        ("CAUSE_REGISTER", "ldr"),
        ("CAUSE_OLD", "0x0"),
        ("CAUSE_NEW", "0x3000000"),
        ("CAUSE_CERTAIN", "1"),
    ] {
        assert_eq!(one(name), value, "{name}");
    }
    assert_eq!(one("FINDING_ID").len(), 16);
    assert_eq!(entry["VCPU"], ["0", "1", "2"]);
    assert_eq!(entry["SLOT"], ["2:0", "2:3"]);
    assert!(!entry.contains_key("CAUSE_GUEST_RIP"));
}

#[test]
fn an_event_arrives_with_all_its_fields_and_a_hostile_name_forges_none() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("socket");
    let receiver = Receiver::at(&path);
    let mut journal = Journal::new(&path).unwrap();
    emit(
        &mut journal,
        &collision(ChangeKind::Raised, Severity::Critical, HOSTILE, 3),
    );
    let (entry, in_memory) = receiver.next().unwrap();
    assert!(!in_memory);
    assert_is_the_collision(&entry);
    assert_eq!((journal.losses(), journal.next_due()), (0, None));
}

#[test]
fn priorities_follow_the_severity_and_an_end_is_information() {
    use ChangeKind::{Changed, Cleared, Raised};
    let priority = |kind, severity| {
        let entry = decoded(&entry(&collision(kind, severity, "web", 1), WALL));
        entry["PRIORITY"][0].clone()
    };
    assert_eq!(
        Severity::ALL.map(|severity| priority(Raised, severity)),
        ["6", "5", "4", "2"]
    );
    assert_eq!(priority(Changed, Severity::Critical), "2");
    assert_eq!(priority(Cleared, Severity::Critical), "6");
}

#[test]
fn too_large_an_entry_goes_as_a_sealed_file_and_names_not_too_many_vcpus() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("socket");
    let receiver = Receiver::at(&path);
    let mut journal = Journal::new(&path).unwrap();
    journal.socket.shrink();
    let long = "x\n".repeat(64 << 10);
    emit(
        &mut journal,
        &collision(ChangeKind::Raised, Severity::Critical, &long, 4096),
    );
    let (entry, in_memory) = receiver.next().unwrap();
    assert!(in_memory);
    assert_eq!(entry["VM_NAME"][0].len(), 8 << 10);
    assert_eq!(
        (entry["VCPU_COUNT"][0].as_str(), entry["VCPU"].len()),
        ("4096", 512)
    );
    assert!(entry.values().map(Vec::len).sum::<usize>() < 1000);
    assert_eq!(journal.losses(), 0);
}

#[test]
fn a_journald_that_never_reads_blocks_nobody_and_learns_what_it_missed() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("socket");
    let receiver = Receiver::at(&path);
    let mut journal = Journal::new(&path).unwrap();
    (0..5000).for_each(|count| emit(&mut journal, &numbered(count)));
    let lost = journal.losses();
    assert!(lost > 0 && journal.waiting.len() == MAX_ENTRIES);
    let mut told = Vec::new();
    while let Some(due) = journal.next_due() {
        told.extend(receiver.counts());
        journal.tick(WALL, due);
    }
    told.extend(receiver.counts());
    assert_eq!(told.pop(), Some(("output-lost".to_owned(), lost)));
    assert_eq!(told.len() as u64, 5000 - lost);
    assert!(told.iter().map(|(_, count)| *count).eq(0..5000 - lost));
    emit(&mut journal, &numbered(7));
    assert_eq!(receiver.counts(), [("lost".to_owned(), 7)]);
}

#[test]
fn what_waits_is_bounded_in_bytes_as_well() {
    let directory = tempdir().unwrap();
    let mut journal = Journal::new(&directory.path().join("none")).unwrap();
    let long = "x".repeat(8 << 10);
    for _ in 0..500 {
        emit(
            &mut journal,
            &collision(ChangeKind::Raised, Severity::Info, &long, 4096),
        );
    }
    let waiting: usize = journal.waiting.iter().map(Vec::len).sum();
    assert_eq!(waiting, journal.waiting_bytes);
    assert!((MAX_BYTES / 2..=MAX_BYTES).contains(&waiting));
    assert_eq!(journal.losses() + journal.waiting.len() as u64, 500);
}

#[test]
fn a_journald_that_comes_back_gets_what_waited_and_is_asked_ever_less_often() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("socket");
    let mut journal = Journal::new(&path).unwrap();
    assert!(!Journal::is_there(&path));
    (0..10).for_each(|count| emit(&mut journal, &numbered(count)));
    let mut pauses = Vec::new();
    let mut now = BootTime(0);
    while let Some(due) = journal.next_due().filter(|_| pauses.len() < 7) {
        pauses.push(due.since(now) / MS);
        now = due;
        journal.tick(WALL, now);
    }
    assert_eq!(pauses, [100, 100, 200, 400, 800, 1600, 2000]);
    let receiver = Receiver::at(&path);
    assert!(Journal::is_there(&path));
    assert!(journal.flush(WALL, now));
    assert_eq!(receiver.counts().len(), 10);
    drop(receiver);
    fs::remove_file(&path).unwrap();
    journal.emit(&numbered(10), WALL, now);
    assert_eq!(journal.next_due(), Some(now.plus(100 * MS)));
    let receiver = Receiver::at(&path);
    journal.tick(WALL, now.plus(100 * MS));
    assert_eq!(receiver.counts(), [("lost".to_owned(), 10)]);
    assert_eq!(journal.losses(), 0);
}
