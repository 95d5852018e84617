//! How much is told of each VM: a burst, then a line a second, and the truth in the end.
//!
//! A guest that rewrites its registers as fast as it can must not fill a disk, nor hide what happens to another VM. While a
//! VM is within its rate, its events pass as they come. Beyond it they are folded: of each finding is kept what was told
//! last and what holds now, so that what is told later is the difference, the worst finding first. What was folded away
//! is counted, line by line, and said in a status line, which is itself one of the lines that the rate allows.
//!
//! In short: told + suppressed + still to be told = taken in, at any time, and once it is quiet what was told says what holds.
//! Status lines pass; those that could come often are limited by the engine. Memory: the told and untold findings of VMs,
//! each at most once.

mod ledger;
mod rate;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use probe_apic::id::{BootTime, VmId};

use self::ledger::Ledger;
pub use self::rate::Rate;
use crate::{
    engine::output::{Output, Status, StatusKind},
    identity::VmIdentity,
};

/// Stands between the engine and the outputs.
#[derive(Debug)]
pub struct Limiter {
    /// `None` for no limit.
    rate: Option<Rate>,
    arrived: Vec<Output>,
    /// VMs of which something was told that still stands, is to be told, or was told too lately to be forgotten.
    vms: BTreeMap<VmId, Ledger>,
    /// When to look at which VM, at most once each, so that a look costs nothing for all the others.
    agenda: BTreeSet<(BootTime, VmId)>,
    suppressed: u64,
}

impl Limiter {
    /// Lets `rate` pass of each VM; everything without one.
    #[must_use]
    pub const fn new(rate: Option<Rate>) -> Self {
        Self {
            rate,
            arrived: Vec::new(),
            vms: BTreeMap::new(),
            agenda: BTreeSet::new(),
            suppressed: 0,
        }
    }

    /// Takes in what the engine said, to be told or not at the next [`Self::take`].
    pub fn push(&mut self, output: Output) {
        self.arrived.push(output);
    }

    /// What is to be told at `now`, in order.
    #[must_use]
    pub fn take(&mut self, now: BootTime) -> Vec<Output> {
        let arrived = mem::take(&mut self.arrived);
        let Some(rate) = self.rate else { return arrived };
        let mut told = Vec::with_capacity(arrived.len());
        let within = self.within_rate(rate, &arrived, now);
        let mut look_at: BTreeSet<VmId> = within.keys().copied().collect();
        for output in arrived {
            match output {
                Output::Event(event) => {
                    let id = event.change.vm;
                    let ledger = self
                        .vms
                        .entry(id)
                        .or_insert_with(|| Ledger::new(event.vm.clone(), rate));
                    if within.get(&id).is_some_and(|within| *within) {
                        ledger.pass(&event, now);
                        told.push(Output::Event(event));
                    } else {
                        self.suppressed += ledger.fold(event, now);
                    }
                }
                Output::Status(status) => {
                    if let (StatusKind::VmGone, Some(vm)) = (status.kind, &status.vm) {
                        look_at.extend(self.bury(vm, now, &mut told));
                    }
                    told.push(Output::Status(status));
                }
            }
        }
        while let Some(&(_, id)) = self.agenda.first().filter(|(due, _)| *due <= now) {
            self.unschedule(id);
            look_at.insert(id);
        }
        for id in look_at {
            self.advance(id, now, &mut told);
        }
        told
    }

    /// All that is still to be told, whatever the rate: for the end of the run.
    #[must_use]
    pub fn finish(&mut self, now: BootTime) -> Vec<Output> {
        let mut told = self.take(now);
        for ledger in mem::take(&mut self.vms).values_mut() {
            told.extend(ledger.flush(now));
        }
        self.agenda.clear();
        told
    }

    /// When to call [`Self::take`] next, even if nothing is pushed.
    #[must_use]
    pub fn next_due(&self) -> Option<BootTime> {
        match self.arrived.is_empty() {
            true => self.agenda.first().map(|&(due, _)| due),
            false => Some(BootTime(0)),
        }
    }

    /// Lines left out since the start.
    #[must_use]
    pub const fn suppressed(&self) -> u64 {
        self.suppressed
    }

    /// The VMs with new events, and whether all of them fit: in part they would be told in the order in which they came,
    /// not the worst first.
    fn within_rate(&self, rate: Rate, arrived: &[Output], now: BootTime) -> BTreeMap<VmId, bool> {
        let mut counts: BTreeMap<VmId, u64> = BTreeMap::new();
        for output in arrived {
            if let Output::Event(event) = output {
                *counts.entry(event.change.vm).or_default() += 1;
            }
        }
        let fits = |(id, count): (VmId, u64)| {
            let fits = match self.vms.get(&id) {
                Some(ledger) => ledger.has_room_for(count, now),
                None => count <= rate.burst(),
            };
            (id, fits)
        };
        counts.into_iter().map(fits).collect()
    }

    /// Tells the end of a VM's findings before the VM's own. A status names a VM by its identity; more than one may bear it
    /// while their owners are unknown, so only those without a standing finding can be meant.
    fn bury(&mut self, vm: &VmIdentity, now: BootTime, told: &mut Vec<Output>) -> Vec<VmId> {
        let mut ended = Vec::new();
        for (id, ledger) in &mut self.vms {
            if ledger.is_over() && same_process(ledger.identity(), vm) {
                told.extend(ledger.flush(now));
                ended.push(*id);
            }
        }
        ended
    }

    /// Tells of one VM what may be told now, and notes when to look at it again.
    fn advance(&mut self, id: VmId, now: BootTime, told: &mut Vec<Output>) {
        self.unschedule(id);
        let Some(ledger) = self.vms.get_mut(&id) else {
            return;
        };
        while let Some(output) = ledger.next(now) {
            told.push(output);
        }
        if ledger.is_forgettable(now) {
            self.vms.remove(&id);
        } else if let Some(due) = ledger.schedule() {
            self.agenda.insert((due, id));
        }
    }

    fn unschedule(&mut self, id: VmId) {
        if let Some(due) = self.vms.get_mut(&id).and_then(Ledger::unschedule) {
            self.agenda.remove(&(due, id));
        }
    }
}

/// A name may change while a VM lives; its process and its place there do not.
fn same_process(one: &VmIdentity, other: &VmIdentity) -> bool {
    (one.pid, one.start_time, &one.discriminator) == (other.pid, other.start_time, &other.discriminator)
}

/// The line that says what was left out.
fn suppressed_line(vm: &VmIdentity, lines: u64, at: BootTime) -> Output {
    Output::Status(Status {
        at,
        vm: Some(vm.clone()),
        kind: StatusKind::Suppressed { lines },
    })
}
