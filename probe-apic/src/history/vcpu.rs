//! The history of one vCPU's registers: their last values, and the last change of each with its writer.
//!
//! Matches recalculations with the routes entered and the writes seen before them. What a change of LDR says
//! about the guest's kernels is left to [`super::ldr_life`].

use super::{
    Step, is_outcome_of,
    ldr_life::{LdrLife, Renewal},
};
use crate::{
    cause::{Cause, Register, Route, RouteCounts, Task},
    id::{BootTime, VcpuId},
    lapic::Lapic,
};

/// By whom a change is explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attribution {
    pub(super) at: BootTime,
    pub(super) route: Route,
    pub(super) task: Option<Task>,
    pub(super) certain: bool,
}

/// One register's last change.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    by: Attribution,
    old: u64,
    new: u64,
    guest_rip: Option<u64>,
}

/// A route that was entered, until its recalculation comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entered {
    by: Attribution,
    lapic: Lapic,
}

impl Entered {
    fn tid(&self) -> Option<u32> {
        self.by.task.as_ref().map(|task| task.tid)
    }
}

/// A register write that a precise hook saw, until its recalculation comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wrote {
    register: Register,
    old: Option<u64>,
    guest_rip: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct VcpuHistory {
    id: VcpuId,
    /// The newest registers seen, in a touch or a sample.
    known: Lapic,
    /// The registers as of the last touch. Touches may be read after a sample that is newer than they are.
    trail: Lapic,
    changes: [Option<Box<Change>>; Register::ALL.len()],
    /// The LDR whose coming about was counted last: a change may be noted once as found and again with its writer.
    counted_ldr: Option<u64>,
    /// When it was found with a past that nobody observed.
    found_at: Option<BootTime>,
    entered: Option<Entered>,
    wrote: Option<Wrote>,
    life: LdrLife,
}

impl VcpuHistory {
    /// A vCPU without a past: it starts from power-on state.
    pub(super) fn born(id: VcpuId) -> Self {
        Self::starting_from(id, Lapic::power_on(id), None)
    }

    /// A vCPU with an unknown past.
    pub(super) fn found(id: VcpuId, at: BootTime, lapic: Lapic) -> Self {
        Self::starting_from(id, lapic, Some(at))
    }

    pub(super) const fn id(&self) -> VcpuId {
        self.id
    }

    fn starting_from(id: VcpuId, lapic: Lapic, found_at: Option<BootTime>) -> Self {
        Self {
            id,
            known: lapic,
            trail: lapic,
            changes: Default::default(),
            counted_ldr: None,
            found_at,
            entered: None,
            wrote: None,
            life: LdrLife::default(),
        }
    }

    /// A route was entered; `lapic` is the state before it. Changes of LDR go into `counts`.
    pub(super) fn entered(&mut self, by: Attribution, lapic: &Lapic, late: bool, counts: &mut RouteCounts) {
        let tid = by.task.as_ref().map(|task| task.tid);
        // Restores and resets set the APIC base on their way: the outer route is the one to name.
        let nested =
            by.route == Route::ApicBase && self.entered.as_ref().is_some_and(|outer| outer.tid() == tid);
        if !nested {
            self.entered = Some(Entered { by, lapic: *lapic });
        }
        if !late && lapic.differs_from(&self.known) {
            let unseen = Attribution {
                route: Route::Scan,
                task: None,
                ..by
            };
            self.sampled(&unseen, lapic, counts);
            self.trail = *lapic;
        }
    }

    /// A precise hook saw a write.
    pub(super) fn wrote(&mut self, register: Register, old: Option<u64>, guest_rip: Option<u64>) {
        self.wrote = Some(Wrote {
            register,
            old,
            guest_rip,
        });
    }

    /// By which route the vCPU came to `lapic`, at a recalculation run by `task`.
    pub(super) fn attribute(&mut self, at: BootTime, task: Task, lapic: &Lapic) -> Attribution {
        let entered = match self.entered.take() {
            Some(entered) if entered.tid() == Some(task.tid) => Some(entered),
            other => {
                self.entered = other;
                None
            }
        };
        let route = entered
            .filter(|entered| is_outcome_of(entered.by.route, &entered.lapic, lapic))
            .map_or(Route::GuestWrite, |entered| entered.by.route);
        Attribution {
            at,
            route,
            task: Some(task),
            certain: true,
        }
    }

    /// A recalculation ran on this vCPU; `lapic` is the state after it. Changes of LDR go into `counts`.
    pub(super) fn recalculated(
        &mut self,
        by: &Attribution,
        lapic: &Lapic,
        late: bool,
        counts: &mut RouteCounts,
    ) -> Step {
        let wrote = self.wrote.take();
        // A sample may have shown the change first, without its writer: then the trail tells.
        let seen_before = late || !lapic.differs_from(&self.known);
        let before = if seen_before { self.trail } else { self.known };
        let mut explained = false;
        for register in Register::ALL {
            let superseded = late && lapic.differs_in(&self.known, register);
            if lapic.differs_in(&before, register) && !superseded {
                let wrote = wrote.filter(|wrote| wrote.register == register);
                self.count(register, by.route, lapic, counts);
                self.note(
                    register,
                    by,
                    before.register(register),
                    lapic.register(register),
                    wrote,
                );
                explained = true;
            }
        }
        self.trail = *lapic;
        if !late {
            self.known = *lapic;
        }
        Step {
            explained,
            renewal: self.life.recalculated(by.at, by.route, &before, lapic),
        }
    }

    /// Touches were left out before the sample that shows `lapic`: what was seen of them goes with no later one.
    pub(super) fn begin_anew(&mut self, lapic: &Lapic) {
        self.trail = *lapic;
        self.entered = None;
        self.wrote = None;
    }

    /// The registers as a sample shows them. Changes of LDR go into `counts`. Returns what [`LdrLife`] says of the step.
    pub(super) fn sampled(
        &mut self,
        by: &Attribution,
        lapic: &Lapic,
        counts: &mut RouteCounts,
    ) -> Option<Renewal> {
        let before = self.known;
        if !lapic.differs_from(&before) {
            if lapic.apic_base.address() != before.apic_base.address() {
                self.moved(by, &before, lapic);
            }
            self.known = *lapic;
            return None;
        }
        for register in Register::ALL {
            if lapic.differs_in(&before, register) {
                self.count(register, by.route, lapic, counts);
                self.note(
                    register,
                    by,
                    before.register(register),
                    lapic.register(register),
                    None,
                );
            }
        }
        self.known = *lapic;
        self.life.changed(by.at, by.route, &before, lapic)
    }

    /// The register page was moved and nothing else changed. No recalculation follows that: the route entered, if it was
    /// seen, is all that there will be to explain it.
    fn moved(&mut self, by: &Attribution, before: &Lapic, lapic: &Lapic) {
        let entered = self.entered.take_if(|entered| {
            entered.by.route == Route::ApicBase && entered.lapic.apic_base == before.apic_base
        });
        let by = entered.map_or_else(
            || *by,
            |entered| Attribution {
                certain: true,
                ..entered.by
            },
        );
        let (old, new) = (before.apic_base.0, lapic.apic_base.0);
        self.note(Register::ApicBase, &by, old, new, None);
    }

    fn count(&mut self, register: Register, route: Route, lapic: &Lapic, counts: &mut RouteCounts) {
        let new = Some(lapic.register(register));
        if register == Register::Ldr && std::mem::replace(&mut self.counted_ldr, new) != new {
            counts.count(route);
        }
    }

    fn note(&mut self, register: Register, by: &Attribution, old: u64, new: u64, wrote: Option<Wrote>) {
        let old = wrote.and_then(|wrote| wrote.old).unwrap_or(old);
        let guest_rip = wrote.and_then(|wrote| wrote.guest_rip);
        let change = Change {
            by: *by,
            old,
            new,
            guest_rip,
        };
        // A change that follows another takes its place.
        match &mut self.changes[register as usize] {
            Some(last) => **last = change,
            none => *none = Some(Box::new(change)),
        }
    }

    pub(super) const fn ldr_written_at(&self) -> Option<BootTime> {
        self.life.written_at()
    }

    /// When `register` was last changed, or found.
    pub(super) fn changed_at(&self, register: Register) -> Option<BootTime> {
        match &self.changes[register as usize] {
            Some(change) => Some(change.by.at),
            None => self.found_at,
        }
    }

    /// The last change of `register`; of a vCPU that was found, what it was found with.
    pub(super) fn cause(&self, register: Register) -> Option<Cause> {
        let Some(change) = &self.changes[register as usize] else {
            return self.found_at.map(|at| Cause {
                at,
                route: Route::Scan,
                vcpu_id: Some(self.id),
                task: None,
                register: Some(register),
                old: None,
                new: Some(self.known.register(register)),
                guest_rip: None,
                certain: false,
            });
        };
        Some(Cause {
            at: change.by.at,
            route: change.by.route,
            vcpu_id: Some(self.id),
            task: change.by.task,
            register: Some(register),
            old: Some(change.old),
            new: Some(change.new),
            guest_rip: change.guest_rip,
            certain: change.by.certain,
        })
    }
}
