//! What the engine counts while it takes reports in, for whoever watches the watcher.
//!
//! Counts only ever grow: they outlive the VMs they come from, and the engine itself where the kvm module is loaded
//! anew ([`super::Engine::with_tally`]).

use std::collections::BTreeMap;

use probe_apic::{
    cause::{Register, Route, RouteCounts},
    host::Host,
    id::VmId,
    observation::{Observation, Touch},
    tracker::ChangeKind,
};

/// Counts since ldrscope was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    recalculations: u64,
    ldr_writes: RouteCounts,
    finding_events: [u64; 3],
}

impl Tally {
    /// Recalculations that KVM completed, of all VMs while they were observed.
    #[must_use]
    pub const fn recalculations(&self) -> u64 {
        self.recalculations
    }

    /// Changes of LDRs by `route`. With the precise hooks every single guest write counts, also one of the same value;
    /// else a change that is seen between two looks at the vCPU counts once.
    #[must_use]
    pub const fn ldr_writes(&self, route: Route) -> u64 {
        self.ldr_writes.of(route)
    }

    /// Findings raised, changed or cleared.
    #[must_use]
    pub const fn finding_events(&self, kind: ChangeKind) -> u64 {
        self.finding_events[kind as usize]
    }
}

/// Keeps the [`Tally`]: knows of each VM what has been counted already.
#[derive(Debug)]
pub(super) struct Ledger {
    tally: Tally,
    /// Guest writes come one by one, and are counted as they come.
    every_write: bool,
    counted: BTreeMap<VmId, Counted>,
}

/// Of one VM.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    recalculations: u64,
    ldr_changes: RouteCounts,
}

impl Ledger {
    /// Nothing was counted yet. `every_write` where the hooks see every single guest write.
    pub(super) fn new(every_write: bool) -> Self {
        Self {
            tally: Tally::default(),
            every_write,
            counted: BTreeMap::new(),
        }
    }

    /// Counts on from `tally`, with VMs of its own.
    pub(super) fn counting_on(self, tally: Tally) -> Self {
        Self { tally, ..self }
    }

    pub(super) const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Counts what an observation brought; `host` has taken it in.
    pub(super) fn observed(&mut self, observation: &Observation, host: &Host) {
        let (id, recalculations) = match observation {
            Observation::Touched(touched) => (touched.vm, touched.recalculations),
            Observation::Sample(sample) => (sample.vm, sample.recalculations),
            Observation::VmGone(gone) => {
                self.counted.remove(&gone.vm);
                return;
            }
            Observation::VmSeen(_)
            | Observation::Lost(_)
            | Observation::Skipped(_)
            | Observation::Sent(_) => return,
        };
        let Some(vm) = host.vm(&id) else { return };
        let counted = self.counted.entry(id).or_default();
        // Of two looks the later one may come first.
        let more = recalculations.saturating_sub(counted.recalculations);
        counted.recalculations += more;
        self.tally.recalculations = self.tally.recalculations.saturating_add(more);

        let ldr_changes = vm.history().ldr_changes();
        let before = std::mem::replace(&mut counted.ldr_changes, ldr_changes);
        for route in Route::ALL {
            if route != Route::GuestWrite || !self.every_write {
                let more = ldr_changes.of(route).saturating_sub(before.of(route));
                self.tally.ldr_writes.add(route, more);
            }
        }
        if let Observation::Touched(touched) = observation
            && let Touch::Wrote {
                register: Register::Ldr,
                ..
            } = touched.what
            && self.every_write
        {
            self.tally.ldr_writes.count(Route::GuestWrite);
        }
    }

    /// A finding came, changed or went.
    pub(super) const fn told(&mut self, kind: ChangeKind) {
        let count = &mut self.tally.finding_events[kind as usize];
        *count = count.saturating_add(1);
    }
}
