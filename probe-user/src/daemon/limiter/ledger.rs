//! One VM's findings: what was told of each, and what is still to be told.

use std::collections::BTreeMap;

use probe_apic::{id::BootTime, tracker::ChangeKind};

use super::{
    rate::{Bucket, Rate},
    suppressed_line,
};
use crate::{
    engine::output::{Event, Output},
    identity::{VmIdentity, finding_id::finding_id},
};

/// From the first line that is left out until it is said, in nanoseconds.
const SAY_AFTER: u64 = 10_000_000_000;

/// One VM's findings and rate.
#[derive(Debug)]
pub(super) struct Ledger {
    identity: VmIdentity,
    /// By finding id: a VM whose owner changes has its findings told under ids of both.
    findings: BTreeMap<String, Entry>,
    /// How many of them wait to be told.
    waiting: usize,
    /// How many of them hold now, told or not.
    standing: usize,
    bucket: Bucket,
    left_out: u64,
    /// When to say what was left out; counts only where something was.
    say_at: BootTime,
    /// Where it stands in the agenda.
    due: Option<BootTime>,
    /// Ever rising: what has waited longest goes first among equals.
    arrivals: u64,
}

#[derive(Debug, Default)]
struct Entry {
    /// Whether it stands in what was told.
    told: bool,
    /// Whether it stands now.
    stands: bool,
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    event: Box<Event>,
    arrival: u64,
}

impl Ledger {
    pub(super) const fn new(identity: VmIdentity, rate: Rate) -> Self {
        Self {
            identity,
            findings: BTreeMap::new(),
            waiting: 0,
            standing: 0,
            bucket: Bucket::full(rate),
            left_out: 0,
            say_at: BootTime(0),
            due: None,
            arrivals: 0,
        }
    }

    pub(super) const fn identity(&self) -> &VmIdentity {
        &self.identity
    }

    /// Whether so many events may be told as they are.
    pub(super) fn has_room_for(&self, events: u64, now: BootTime) -> bool {
        self.waiting == 0 && events <= self.bucket.room(now)
    }

    /// Whether none of its findings holds any more.
    pub(super) const fn is_over(&self) -> bool {
        self.standing == 0
    }

    /// Notes an event that is told as it is.
    pub(super) fn pass(&mut self, event: &Event, now: BootTime) {
        self.identity.clone_from(&event.vm);
        self.bucket.spend(now);
        let id = finding_id(&event.vm, &event.change.finding.key);
        let stands = event.change.kind != ChangeKind::Cleared;
        let entry = self.findings.entry(id.clone()).or_default();
        entry.told = stands;
        self.standing -= usize::from(entry.stands);
        self.standing += usize::from(stands);
        entry.stands = stands;
        if !stands {
            self.findings.remove(&id);
        }
    }

    /// Keeps of an event what it changes in what is to be told; returns how many lines that leaves out.
    pub(super) fn fold(&mut self, mut event: Box<Event>, now: BootTime) -> u64 {
        self.identity.clone_from(&event.vm);
        self.arrivals += 1;
        let id = finding_id(&event.vm, &event.change.finding.key);
        let stands = event.change.kind != ChangeKind::Cleared;
        let entry = self.findings.entry(id.clone()).or_default();
        self.standing -= usize::from(entry.stands);
        self.standing += usize::from(stands);
        entry.stands = stands;
        let earlier = entry.waiting.take();
        self.waiting -= usize::from(earlier.is_some());
        let mut lines = u64::from(earlier.is_some());
        match net(entry.told, stands) {
            Some(kind) => {
                event.change.kind = kind;
                let arrival = earlier.map_or(self.arrivals, |earlier| earlier.arrival);
                entry.waiting = Some(Waiting { event, arrival });
                self.waiting += 1;
            }
            None => {
                lines += 1;
                self.findings.remove(&id);
            }
        }
        if self.left_out == 0 && lines > 0 {
            self.say_at = now.plus(SAY_AFTER);
        }
        self.left_out += lines;
        lines
    }

    /// One line that may be told now.
    pub(super) fn next(&mut self, now: BootTime) -> Option<Output> {
        if now < self.bucket.next() {
            return None;
        }
        let output = if self.left_out > 0 && self.say_at <= now {
            Some(self.say_left_out(now))
        } else {
            self.pop(now)
        };
        if output.is_some() {
            self.bucket.spend(now);
        }
        output
    }

    /// Everything, whatever the rate.
    pub(super) fn flush(&mut self, now: BootTime) -> Vec<Output> {
        let mut told = Vec::new();
        while let Some(output) = self.pop(now) {
            self.bucket.spend(now);
            told.push(output);
        }
        if self.left_out > 0 {
            told.push(self.say_left_out(now));
        }
        told
    }

    /// Whether all was told, nothing stands, and it has its whole burst again: a new ledger would be the same.
    pub(super) fn is_forgettable(&self, now: BootTime) -> bool {
        self.findings.is_empty() && self.left_out == 0 && self.bucket.full_at() <= now
    }

    /// When it is to be looked at next; remembers it.
    pub(super) fn schedule(&mut self) -> Option<BootTime> {
        let free = self.bucket.next();
        let tell = (self.waiting > 0).then_some(free);
        let say = (self.left_out > 0).then(|| self.say_at.max(free));
        let forget = self.findings.is_empty().then(|| self.bucket.full_at());
        self.due = tell.into_iter().chain(say).min().or(forget);
        self.due
    }

    pub(super) const fn unschedule(&mut self) -> Option<BootTime> {
        self.due.take()
    }

    fn say_left_out(&mut self, now: BootTime) -> Output {
        let lines = std::mem::take(&mut self.left_out);
        suppressed_line(&self.identity, lines, now)
    }

    /// What waits: the worst, of equals the oldest.
    fn pop(&mut self, now: BootTime) -> Option<Output> {
        let (_, id) = self
            .findings
            .iter()
            .filter_map(|(id, entry)| {
                let waiting = entry.waiting.as_ref()?;
                let severity = waiting.event.change.finding.severity;
                Some(((severity, std::cmp::Reverse(waiting.arrival)), id))
            })
            .max()?;
        let id = id.clone();
        let entry = self.findings.get_mut(&id)?;
        let mut event = entry.waiting.take()?.event;
        self.waiting -= 1;
        entry.told = entry.stands;
        if !entry.stands {
            self.findings.remove(&id);
        }
        // Told now, not when it happened, and its latency says so.
        event.change.latency_nanos += now.since(event.change.at);
        event.change.at = event.change.at.max(now);
        Some(Output::Event(event))
    }
}

/// The change from what was told to what holds; none where that is the same as ever.
const fn net(told: bool, stands: bool) -> Option<ChangeKind> {
    match (told, stands) {
        (false, true) => Some(ChangeKind::Raised),
        (true, true) => Some(ChangeKind::Changed),
        (true, false) => Some(ChangeKind::Cleared),
        (false, false) => None,
    }
}
