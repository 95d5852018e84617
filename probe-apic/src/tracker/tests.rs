//! When something is told, and when it is not.

use super::*;
use crate::{
    finding::{Confidence, Effect, Rule, Severity},
    id::VcpuId,
};

const MS: u64 = 1_000_000;
const SETTLE: u64 = 200 * MS;
const A: VmId = VmId(1);

fn ms(at: u64) -> BootTime {
    BootTime(at * MS)
}

fn finding(severity: Severity) -> Finding {
    Finding {
        key: FindingKey {
            rule: Rule::LdrMultiBit,
            slot: None,
        },
        severity,
        vcpus: vec![VcpuId(0)],
        slots: Vec::new(),
        since: Some(ms(1)),
        summary: "vCPU 0 has a multi-bit LDR".to_owned(),
        confidence: Confidence::Certain,
        suspected: false,
        effect: Effect::default(),
        evidence: Vec::new(),
        cause: None,
    }
}

/// A tracker with one VM whose condition is switched on and off.
struct Switched(Tracker);

impl Switched {
    fn new(settle_nanos: u64) -> Self {
        Self(Tracker::new(settle_nanos))
    }

    fn on(&mut self, at: u64) {
        self.with(at, finding(Severity::Warning));
    }

    fn with(&mut self, at: u64, finding: Finding) {
        self.0.update(A, ms(at), ms(at), vec![finding]);
    }

    fn off(&mut self, at: u64) {
        self.0.update(A, ms(at), ms(at), Vec::new());
    }

    fn told(&mut self, at: u64) -> Vec<ChangeKind> {
        self.0.poll(ms(at)).iter().map(|change| change.kind).collect()
    }
}

const RAISED: [ChangeKind; 1] = [ChangeKind::Raised];
const CHANGED: [ChangeKind; 1] = [ChangeKind::Changed];
const CLEARED: [ChangeKind; 1] = [ChangeKind::Cleared];
const NOTHING: [ChangeKind; 0] = [];

#[test]
fn condition_is_told_once_it_has_held_and_not_again() {
    let mut vm = Switched::new(SETTLE);
    vm.on(1000);
    assert_eq!(vm.0.next_due(), Some(ms(1200)));
    assert_eq!(vm.told(1199), NOTHING);
    vm.on(1100);
    assert_eq!(vm.told(1200), RAISED);
    vm.on(1300);
    assert_eq!(vm.told(2000), NOTHING);
    assert_eq!(vm.0.next_due(), None);
    assert_eq!(vm.0.held(A).count(), 1);
}

#[test]
fn latency_counts_from_the_event_and_leaves_the_settle_time_out() {
    let mut tracker = Tracker::new(SETTLE);
    tracker.update(A, ms(1010), ms(1000), vec![finding(Severity::Info)]);
    let change = &tracker.poll(ms(1203))[0];
    assert_eq!((change.latency_nanos, change.at), (3 * MS, ms(1203)));
    assert_eq!(change.finding.since, Some(ms(1)));
}

#[test]
fn restore_that_passes_through_a_conflict_is_not_told() {
    let mut vm = Switched::new(SETTLE);
    vm.on(1000);
    vm.off(1150);
    assert_eq!(vm.told(5000), NOTHING);
    assert_eq!(vm.0.next_due(), None);
}

#[test]
fn condition_has_to_be_gone_as_long_before_it_is_cleared() {
    let mut vm = Switched::new(SETTLE);
    vm.on(1000);
    assert_eq!(vm.told(1200), RAISED);
    vm.off(2000);
    vm.on(2100);
    assert_eq!(vm.told(3500), NOTHING);
    vm.off(4000);
    assert_eq!(vm.told(4199), NOTHING);
    assert_eq!(vm.told(4200), CLEARED);
    assert_eq!(vm.0.held(A).count(), 0);
}

#[test]
fn change_of_severity_is_told_with_what_then_holds() {
    let mut vm = Switched::new(SETTLE);
    vm.on(1000);
    assert_eq!(vm.told(1200), RAISED);
    vm.with(2000, finding(Severity::Critical));
    vm.with(
        2100,
        Finding {
            vcpus: vec![VcpuId(0), VcpuId(3)],
            ..finding(Severity::Critical)
        },
    );
    let change = &vm.0.poll(ms(2200))[0];
    assert_eq!(
        (change.kind, change.finding.vcpus.len()),
        (ChangeKind::Changed, 2)
    );
    assert_eq!(vm.told(3000), NOTHING);
}

#[test]
fn change_that_is_taken_back_in_time_is_not_told() {
    let mut vm = Switched::new(SETTLE);
    vm.on(1000);
    assert_eq!(vm.told(1200), RAISED);
    vm.with(2000, finding(Severity::Critical));
    vm.on(2100);
    assert_eq!(vm.told(3000), NOTHING);
}

#[test]
fn another_wording_is_no_change() {
    let mut vm = Switched::new(0);
    vm.on(1000);
    assert_eq!(vm.told(1000), RAISED);
    vm.with(
        1100,
        Finding {
            summary: "in other words".to_owned(),
            ..finding(Severity::Warning)
        },
    );
    assert_eq!(vm.told(2000), NOTHING);
    assert_eq!(vm.0.held(A).next().unwrap().summary, "in other words");
}

#[test]
fn without_settle_time_everything_is_told_at_once() {
    let mut vm = Switched::new(0);
    vm.on(1000);
    assert_eq!(vm.told(1000), RAISED);
    vm.with(1001, finding(Severity::Critical));
    assert_eq!(vm.told(1001), CHANGED);
    vm.off(1002);
    assert_eq!(vm.told(1002), CLEARED);
}

#[test]
fn condition_that_keeps_coming_and_going_is_raised_and_held_with_its_count() {
    let mut vm = Switched::new(SETTLE);
    for time in 0..5 {
        vm.on(1000 + 100 * time);
        vm.off(1050 + 100 * time);
    }
    let change = vm.0.poll(ms(1450)).remove(0);
    assert_eq!(change.kind, ChangeKind::Raised);
    assert!(
        change
            .finding
            .summary
            .ends_with("(came and went 5 times in quick succession)")
    );
    for time in 0..20 {
        vm.on(1500 + 100 * time);
        vm.off(1550 + 100 * time);
        assert_eq!(vm.told(1560 + 100 * time), NOTHING);
    }
    assert_eq!(vm.told(4449), NOTHING);
    let change = vm.0.poll(ms(4450)).remove(0);
    assert_eq!(change.kind, ChangeKind::Cleared);
    assert!(change.finding.summary.contains("25 times"));
    assert_eq!(vm.told(9000), NOTHING);
}

/// Eight vCPUs of an SMP boot write LDR and enable their APIC one after the other, each stale for a moment.
#[test]
fn condition_that_passes_from_vcpu_to_vcpu_is_not_told() {
    for pause in [0, 10] {
        let mut vm = Switched::new(SETTLE);
        for vcpu in 0..8 {
            let at = 1000 + u64::from(vcpu) * 50;
            let of_one = Finding {
                vcpus: vec![VcpuId(vcpu)],
                ..finding(Severity::Info)
            };
            vm.with(at, of_one);
            if pause > 0 {
                vm.off(at + pause);
            }
            assert_eq!(vm.told(at + 49), NOTHING);
        }
        vm.off(1400);
        assert_eq!(vm.told(5000), NOTHING);
    }
}

#[test]
fn condition_that_alternates_between_vcpus_is_held_too() {
    let mut vm = Switched::new(0);
    let mut told = 0;
    for step in 0..100 {
        let at = 1000 + step * 10;
        let vcpus = vec![VcpuId(u32::try_from(step % 2).unwrap())];
        vm.with(
            at,
            Finding {
                vcpus,
                ..finding(Severity::Info)
            },
        );
        vm.off(at + 5);
        told += vm
            .told(at + 5)
            .iter()
            .filter(|&&kind| kind != ChangeKind::Changed)
            .count();
    }
    assert!(told <= 20, "{told}");
    assert_eq!(vm.told(4000), CLEARED);
}

#[test]
fn flapping_is_told_once_without_settle_time_too() {
    let mut vm = Switched::new(0);
    let mut told = Vec::new();
    for time in 0..30 {
        vm.on(1000 + 100 * time);
        told.extend(vm.told(1000 + 100 * time));
        vm.off(1050 + 100 * time);
        told.extend(vm.told(1050 + 100 * time));
    }
    assert_eq!(told.len(), 9, "{told:?}");
    assert_eq!(vm.told(4950), CLEARED);
}

#[test]
fn flapping_that_settles_on_stays_raised_and_clears_as_usual() {
    let mut vm = Switched::new(SETTLE);
    for time in 0..5 {
        vm.on(1000 + 100 * time);
        vm.off(1050 + 100 * time);
    }
    assert_eq!(vm.told(1450), RAISED);
    vm.on(1500);
    assert_eq!(vm.told(4000), NOTHING);
    vm.off(5000);
    assert_eq!(vm.told(5200), CLEARED);
}

#[test]
fn raised_findings_of_a_vm_that_is_gone_are_cleared_at_once() {
    let mut vm = Switched::new(SETTLE);
    vm.on(1000);
    assert_eq!(vm.told(1200), RAISED);
    let slot = Some(crate::id::Slot { cluster: 0, bit: 0 });
    let pending = Finding {
        key: FindingKey {
            rule: Rule::LdrCollision,
            slot,
        },
        ..finding(Severity::Info)
    };
    vm.0.update(A, ms(1300), ms(1300), vec![finding(Severity::Warning), pending]);
    vm.0.vm_gone(A, ms(1310));
    assert_eq!(vm.0.next_due(), Some(ms(1310)));
    assert_eq!(vm.told(1310), CLEARED);
    assert_eq!(vm.told(9000), NOTHING);
    assert_eq!(vm.0.next_due(), None);
}

#[test]
fn vms_are_kept_apart() {
    let mut tracker = Tracker::new(0);
    let b = VmId(2);
    tracker.update(A, ms(1), ms(1), vec![finding(Severity::Info)]);
    tracker.update(b, ms(2), ms(2), vec![finding(Severity::Critical)]);
    let told: Vec<_> = tracker
        .poll(ms(2))
        .into_iter()
        .map(|change| (change.vm, change.finding.severity))
        .collect();
    assert_eq!(told, [(A, Severity::Info), (b, Severity::Critical)]);
    tracker.vm_gone(A, ms(3));
    assert_eq!(tracker.held(b).count(), 1);
    assert_eq!(tracker.poll(ms(3)).len(), 1);
}

#[test]
fn event_from_the_future_counts_as_seen_now() {
    let mut tracker = Tracker::new(SETTLE);
    tracker.update(A, ms(1000), BootTime(u64::MAX), vec![finding(Severity::Info)]);
    assert_eq!(tracker.next_due(), Some(ms(1200)));
}

#[test]
fn what_comes_again_after_it_was_cleared_begins_anew() {
    let mut vm = Switched::new(0);
    vm.on(1000);
    assert_eq!(vm.told(1000), RAISED);
    vm.off(2000);
    assert_eq!(vm.told(2000), CLEARED);
    vm.with(
        9000,
        Finding {
            since: Some(ms(9000)),
            ..finding(Severity::Warning)
        },
    );
    assert_eq!(vm.0.poll(ms(9000))[0].finding.since, Some(ms(9000)));
}
