//! The limiter against storms: what is told is bounded, counted, and true in the end.

use std::collections::{BTreeMap, BTreeSet};

use probe_apic::{
    finding::{Confidence, Effect, Finding, FindingKey, Rule, Severity},
    id::{BootTime, Slot, VmId},
    tracker::{Change, ChangeKind},
};
use proptest::prelude::*;

use super::*;
use crate::engine::output::Event;

const SECOND: u64 = 1_000_000_000;

fn limiter() -> Limiter {
    Limiter::new(Rate::new(1, SECOND))
}

fn vm(id: u64) -> VmIdentity {
    VmIdentity {
        name: format!("vm{id}"),
        pid: u32::try_from(id).ok(),
        discriminator: id.to_string(),
        ..VmIdentity::unknown()
    }
}

fn event(id: u64, kind: ChangeKind, bit: u8, severity: Severity, at: u64) -> Output {
    let finding = Finding {
        key: FindingKey {
            rule: Rule::LdrCollision,
            slot: Some(Slot { cluster: 0, bit }),
        },
        severity,
        vcpus: Vec::new(),
        slots: Vec::new(),
        since: None,
        summary: String::new(),
        confidence: Confidence::Certain,
        suspected: false,
        effect: Effect::default(),
        evidence: Vec::new(),
        cause: None,
    };
    let change = Change {
        vm: VmId(id),
        kind,
        finding,
        at: BootTime(at),
        latency_nanos: 7,
    };
    Output::Event(Box::new(Event { vm: vm(id), change }))
}

fn gone(id: u64, at: u64) -> Output {
    Output::Status(Status {
        at: BootTime(at),
        vm: Some(vm(id)),
        kind: StatusKind::VmGone,
    })
}

/// Each output as `word VM bit severity`, or `word VM count`.
fn words(outputs: &[Output]) -> Vec<String> {
    let word = |output: &Output| match output {
        Output::Event(event) => {
            let finding = &event.change.finding;
            let bit = finding.key.slot.map_or(0, |slot| slot.bit);
            format!(
                "{} {} {bit} {}",
                event.change.kind, event.vm.name, finding.severity
            )
        }
        Output::Status(status) => {
            let vm = status.vm.as_ref().map_or("all", |vm| vm.name.as_str());
            let count = status
                .kind
                .count()
                .map_or_else(String::new, |count| format!(" {count}"));
            format!("{} {vm}{count}", status.kind.name())
        }
    };
    outputs.iter().map(word).collect()
}

#[test]
fn a_quiet_vm_is_told_as_it_comes() {
    let mut limiter = limiter();
    limiter.push(event(1, ChangeKind::Raised, 0, Severity::Info, 0));
    limiter.push(event(1, ChangeKind::Cleared, 0, Severity::Info, 0));
    assert_eq!(
        words(&limiter.take(BootTime(0))),
        ["raised vm1 0 info", "cleared vm1 0 info"]
    );
    assert_eq!(limiter.suppressed(), 0);
}

#[test]
fn of_too_much_at_once_the_worst_goes_first_and_the_rest_follows() {
    let mut limiter = limiter();
    for bit in 0..8 {
        let severity = if bit == 6 {
            Severity::Critical
        } else {
            Severity::Notice
        };
        limiter.push(event(1, ChangeKind::Raised, bit, severity, 0));
    }
    let told = words(&limiter.take(BootTime(0)));
    assert_eq!(told.len(), 5);
    assert_eq!(told[..2], ["raised vm1 6 critical", "raised vm1 0 notice"]);
    assert_eq!(limiter.next_due(), Some(BootTime(SECOND)));
    assert!(limiter.take(BootTime(SECOND - 1)).is_empty());
    let late = limiter.take(BootTime(SECOND));
    assert_eq!(words(&late), ["raised vm1 4 notice"]);
    let Output::Event(late) = &late[0] else {
        panic!("an event")
    };
    assert_eq!(
        (late.change.at, late.change.latency_nanos),
        (BootTime(SECOND), SECOND + 7)
    );
    assert_eq!(words(&limiter.take(BootTime(3 * SECOND))).len(), 2);
    assert_eq!(limiter.suppressed(), 0, "late is not lost");
}

/// Spends the whole burst on findings of bits from 10 on.
fn exhausted(id: u64) -> Limiter {
    let mut limiter = limiter();
    for bit in 10..15 {
        limiter.push(event(id, ChangeKind::Raised, bit, Severity::Info, 0));
    }
    assert_eq!(limiter.take(BootTime(0)).len(), 5);
    limiter
}

#[test]
fn what_comes_and_goes_untold_is_counted_and_said() {
    let mut limiter = exhausted(1);
    for _ in 0..10 {
        limiter.push(event(1, ChangeKind::Raised, 0, Severity::Critical, 1));
        limiter.push(event(1, ChangeKind::Changed, 0, Severity::Critical, 1));
        limiter.push(event(1, ChangeKind::Cleared, 0, Severity::Critical, 1));
    }
    assert!(limiter.take(BootTime(1)).is_empty());
    assert_eq!(limiter.suppressed(), 30);
    assert_eq!(limiter.next_due(), Some(BootTime(10 * SECOND + 1)));
    let said = limiter.take(BootTime(10 * SECOND + 1));
    assert_eq!(words(&said), ["suppressed vm1 30"]);
    assert_eq!(limiter.next_due(), None);
}

#[test]
fn a_told_finding_that_comes_and_goes_is_told_as_it_ends() {
    let mut limiter = exhausted(1);
    let flaps = [ChangeKind::Cleared, ChangeKind::Raised, ChangeKind::Cleared];
    for kind in flaps.into_iter().chain([ChangeKind::Raised]) {
        limiter.push(event(1, kind, 10, Severity::Warning, 1));
    }
    for kind in flaps {
        limiter.push(event(1, kind, 11, Severity::Warning, 1));
    }
    let told = words(&limiter.take(BootTime(5 * SECOND)));
    assert_eq!(told, ["changed vm1 10 warning", "cleared vm1 11 warning"]);
}

#[test]
fn the_end_of_a_vm_is_told_whole_and_nobody_waits_for_another() {
    let mut limiter = exhausted(1);
    for bit in 10..15 {
        limiter.push(event(1, ChangeKind::Changed, bit, Severity::Info, 1));
        limiter.push(event(1, ChangeKind::Cleared, bit, Severity::Info, 1));
    }
    limiter.push(event(2, ChangeKind::Raised, 0, Severity::Info, 1));
    limiter.push(gone(1, 1));
    let told = words(&limiter.take(BootTime(1)));
    assert_eq!(told.len(), 8);
    assert_eq!(told[0], "raised vm2 0 info");
    assert!(
        told[1..6].iter().all(|line| line.starts_with("cleared vm1")),
        "{told:?}"
    );
    assert_eq!(told[6..], ["suppressed vm1 5", "vm-gone vm1"]);
}

#[test]
fn a_vm_that_is_over_is_forgotten_and_one_that_stands_costs_no_wake() {
    let mut limiter = limiter();
    limiter.push(event(1, ChangeKind::Raised, 0, Severity::Info, 0));
    assert_eq!(limiter.take(BootTime(0)).len(), 1);
    assert_eq!(limiter.next_due(), None);
    limiter.push(event(1, ChangeKind::Cleared, 0, Severity::Info, 0));
    assert_eq!(limiter.take(BootTime(0)).len(), 1);
    assert_eq!(limiter.next_due(), Some(BootTime(2 * SECOND)));
    assert!(limiter.take(BootTime(2 * SECOND)).is_empty());
    assert!(limiter.vms.is_empty() && limiter.next_due().is_none());
}

#[test]
fn without_a_rate_everything_passes() {
    let mut limiter = Limiter::new(None);
    (0..100).for_each(|_| limiter.push(event(1, ChangeKind::Changed, 0, Severity::Info, 0)));
    assert_eq!(limiter.take(BootTime(0)).len(), 100);
    assert_eq!(limiter.next_due(), None);
}

#[test]
fn the_end_of_the_run_tells_what_still_waited() {
    let mut limiter = exhausted(1);
    limiter.push(event(1, ChangeKind::Changed, 10, Severity::Info, 1));
    limiter.push(event(1, ChangeKind::Changed, 10, Severity::Critical, 1));
    let told = words(&limiter.finish(BootTime(1)));
    assert_eq!(told, ["changed vm1 10 critical", "suppressed vm1 1"]);
}

/// Which VM, which finding, how bad, and how long after the one before.
type Step = (u64, u8, usize, u64);

/// What the engine could say: a finding is raised, then changed or cleared.
fn storm(steps: &[Step]) -> Vec<(u64, Vec<Output>)> {
    let mut standing = BTreeSet::new();
    let mut now = 0;
    let mut batches: Vec<(u64, Vec<Output>)> = Vec::new();
    for &(id, bit, word, pause) in steps {
        now += pause;
        let severity = Severity::ALL[word % 4];
        let kind = if standing.insert((id, bit)) {
            ChangeKind::Raised
        } else if word < 4 {
            ChangeKind::Changed
        } else {
            standing.remove(&(id, bit));
            ChangeKind::Cleared
        };
        let output = event(id, kind, bit, severity, now);
        match batches.last_mut().filter(|(at, _)| *at == now) {
            Some((_, batch)) => batch.push(output),
            None => batches.push((now, vec![output])),
        }
    }
    batches
}

/// Folds events into what holds; every one must fit what was said before it.
fn fold<'a>(outputs: impl Iterator<Item = &'a Output>) -> BTreeMap<(VmId, FindingKey), Severity> {
    let mut standing = BTreeMap::new();
    for output in outputs {
        let Output::Event(event) = output else { continue };
        let change = &event.change;
        let key = (change.vm, change.finding.key);
        let before = match change.kind {
            ChangeKind::Cleared => standing.remove(&key),
            _ => standing.insert(key, change.finding.severity),
        };
        assert_eq!(before.is_some(), change.kind != ChangeKind::Raised, "{key:?}");
    }
    standing
}

/// Lines of a VM, and when each was told.
fn lines_of(told: &[(u64, Output)], id: u64) -> Vec<u64> {
    let of = |output: &Output| match output {
        Output::Event(event) => event.vm == vm(id),
        Output::Status(status) => status.vm.as_ref() == Some(&vm(id)),
    };
    told.iter()
        .filter(|(_, output)| of(output))
        .map(|(at, _)| *at)
        .collect()
}

proptest! {
    #[test]
    fn whatever_comes_what_is_told_is_bounded_counted_and_true(
        steps in prop::collection::vec((1..4_u64, 0..4_u8, 0..8_usize, prop_oneof![
            4 => Just(0), 4 => 0..50_000_000_u64, 1 => 0..8 * SECOND
        ]), 0..300)
    ) {
        let mut limiter = limiter();
        let batches = storm(&steps);
        let mut told: Vec<(u64, Output)> = Vec::new();
        let taken = |limiter: &mut Limiter, now: u64, told: &mut Vec<(u64, Output)>| {
            told.extend(limiter.take(BootTime(now)).into_iter().map(|output| (now, output)));
        };
        for (at, batch) in &batches {
            while let Some(due) = limiter.next_due().filter(|due| due.0 < *at) {
                taken(&mut limiter, due.0, &mut told);
            }
            batch.iter().for_each(|output| limiter.push(output.clone()));
            taken(&mut limiter, *at, &mut told);
        }
        while let Some(due) = limiter.next_due() {
            taken(&mut limiter, due.0, &mut told);
        }

        let input: Vec<&Output> = batches.iter().flat_map(|(_, batch)| batch).collect();
        prop_assert_eq!(fold(input.iter().copied()), fold(told.iter().map(|(_, output)| output)));
        let events = told.iter().filter(|(_, output)| matches!(output, Output::Event(_))).count() as u64;
        prop_assert_eq!(events + limiter.suppressed(), input.len() as u64);
        let said: u64 = told.iter().filter_map(|(_, output)| match output {
            Output::Status(status) => status.kind.count(),
            Output::Event(_) => None,
        }).sum();
        prop_assert_eq!(said, limiter.suppressed());
        for id in 1..4 {
            let lines = lines_of(&told, id);
            for (first, last) in lines.iter().zip(lines.iter().skip(5)) {
                prop_assert!(last - first >= SECOND, "six lines of VM {} in {} ns", id, last - first);
            }
        }
        prop_assert_eq!(limiter.vms.len(), fold(input.iter().copied()).keys().map(|(vm, _)| vm).collect::<BTreeSet<_>>().len());
    }

    #[test]
    fn a_vm_within_its_rate_is_told_at_once_whatever_another_does(
        steps in prop::collection::vec((1..2_u64, 0..8_u8, 0..8_usize, 0..20_000_000_u64), 0..300)
    ) {
        let mut limiter = limiter();
        let mut quiet_at = 0;
        for (at, batch) in storm(&steps) {
            batch.into_iter().for_each(|output| limiter.push(output));
            let quiet = at >= quiet_at;
            if quiet {
                quiet_at = at + SECOND;
                limiter.push(event(9, ChangeKind::Changed, 0, Severity::Info, at));
            }
            let told = limiter.take(BootTime(at));
            prop_assert_eq!(words(&told).contains(&"changed vm9 0 info".to_owned()), quiet);
        }
    }
}
