//! Packs what the engine is given. Writing it somewhere is left to whoever owns the recorder.

use std::{collections::BTreeMap, time::Duration};

use probe_apic::{
    id::{BootTime, VmId},
    observation::{Observation, VmSeen},
};
use recording::{Packer, Pseudonyms};

use super::convert;
use crate::{
    clock::WallClock,
    identity::{VmIdentity, filter::VmFilter},
    observer::{HostFacts, Report},
};

/// A wall clock that moved by less is only read a little earlier or later, in nanoseconds.
const SAME_CLOCK: u64 = 1_000_000;

/// How often it is noted that nothing happened, in nanoseconds: what stands until then is known to stand.
const NOTHING_NEW: u64 = 1_000_000_000;

/// Takes down what the engine is given.
#[derive(Debug)]
pub struct Recorder {
    settle: Duration,
    choice: Option<Choice>,
    pseudonyms: Option<Pseudonyms>,
    clock: Option<i64>,
    polled_at: BootTime,
    /// Something came since the engine was polled.
    news: bool,
    identified: u64,
}

impl Recorder {
    /// A recorder beside an engine with that settle time, for the VMs that `filter` lets pass; with pseudonyms where
    /// `anonymise` is set.
    #[must_use]
    pub fn new(settle: Duration, filter: VmFilter, anonymise: bool) -> Self {
        Self {
            settle,
            choice: Some(filter)
                .filter(|filter| *filter != VmFilter::default())
                .map(Choice::new),
            pseudonyms: anonymise.then(Pseudonyms::new),
            clock: None,
            polled_at: BootTime::default(),
            news: false,
            identified: 0,
        }
    }

    /// How often a VM was said to be somebody.
    #[must_use]
    pub const fn identified_vms(&self) -> u64 {
        self.identified
    }

    /// The observation begins at `now`.
    pub fn opened(&mut self, facts: &HostFacts, wall: WallClock, now: BootTime, packer: &mut Packer) {
        if let Some(choice) = &mut self.choice {
            choice.vms.clear();
        }
        packer.host(now, &convert::host(facts, self.settle, self.choice.is_none()));
        self.clock = None;
        self.note_clock(wall, now, packer);
        self.news = true;
    }

    /// Takes a report down.
    pub fn reported(&mut self, report: &Report, now: BootTime, packer: &mut Packer) {
        match report {
            Report::Observation(observation) => {
                let is_wanted = self
                    .choice
                    .as_mut()
                    .is_none_or(|choice| choice.wants(observation));
                if !is_wanted {
                    return;
                }
                match &mut self.pseudonyms {
                    Some(pseudonyms) => {
                        let mut hidden = observation.clone();
                        pseudonyms.hide_in(&mut hidden);
                        packer.observed(now, &hidden);
                    }
                    None => packer.observed(now, observation),
                }
            }
            Report::Dropped { records } => packer.dropped(now, *records),
            Report::Uncounted { interrupts } => packer.uncounted(now, *interrupts),
            // Taken down as what it led to.
            Report::Process { .. } => return,
        }
        self.news = true;
    }

    /// Takes down who a VM is.
    pub fn identified(&mut self, vm: VmId, identity: &VmIdentity, now: BootTime, packer: &mut Packer) {
        if let Some(choice) = &mut self.choice {
            match choice.take(vm, identity) {
                Taken::No => return,
                Taken::Already => {}
                Taken::Now(known) => {
                    packer.observed(now, &Observation::VmSeen(known.seen));
                    if known.was_touched {
                        packer.observed(now, &Observation::Skipped(vm));
                    }
                }
            }
        }
        let mut identity = convert::recorded(identity);
        if let Some(pseudonyms) = &mut self.pseudonyms {
            pseudonyms.hide(&mut identity);
        }
        packer.identified(now, vm, &identity);
        self.identified += 1;
        self.news = true;
    }

    /// The engine was polled, and `told` something.
    pub fn polled(&mut self, wall: WallClock, now: BootTime, told: bool, packer: &mut Packer) {
        if !self.news && !told && now.since(self.polled_at) < NOTHING_NEW {
            return;
        }
        self.note_clock(wall, now, packer);
        packer.polled(now);
        self.polled_at = now;
        self.news = false;
    }

    /// Kvm was unloaded.
    pub fn unloaded(&mut self, now: BootTime, packer: &mut Packer) {
        packer.unloaded(now);
        self.news = true;
    }

    fn note_clock(&mut self, wall: WallClock, now: BootTime, packer: &mut Packer) {
        let boot = wall.boot();
        if self.clock.is_none_or(|known| known.abs_diff(boot) >= SAME_CLOCK) {
            packer.clock(now, boot);
            self.clock = Some(boot);
        }
    }
}

/// Which VMs to record. One that was once wanted stays in: its end is wanted, too.
#[derive(Debug)]
struct Choice {
    filter: VmFilter,
    vms: BTreeMap<VmId, Known>,
}

#[derive(Clone, Debug)]
struct Known {
    seen: VmSeen,
    is_wanted: bool,
    /// Something of it was left out.
    was_touched: bool,
}

/// Whether a VM is wanted.
enum Taken {
    No,
    Already,
    /// From now on.
    Now(Known),
}

impl Choice {
    const fn new(filter: VmFilter) -> Self {
        Self {
            filter,
            vms: BTreeMap::new(),
        }
    }

    fn wants(&mut self, observation: &Observation) -> bool {
        let vm = match observation {
            Observation::VmSeen(seen) => {
                let known = self.vms.entry(seen.vm).or_insert_with(|| Known {
                    seen: seen.clone(),
                    is_wanted: false,
                    was_touched: false,
                });
                known.seen = seen.clone();
                return known.is_wanted;
            }
            Observation::VmGone(gone) => {
                return self.vms.remove(&gone.vm).is_some_and(|known| known.is_wanted);
            }
            Observation::Touched(touched) => touched.vm,
            Observation::Sample(sample) => sample.vm,
            Observation::Lost(lost) => lost.vm,
            Observation::Skipped(vm) => *vm,
            Observation::Sent(sent) => sent.vm,
        };
        self.vms.get_mut(&vm).is_some_and(|known| {
            known.was_touched |= !known.is_wanted;
            known.is_wanted
        })
    }

    fn take(&mut self, vm: VmId, identity: &VmIdentity) -> Taken {
        let Some(known) = self.vms.get_mut(&vm) else {
            return Taken::No;
        };
        if known.is_wanted {
            Taken::Already
        } else if self.filter.matches(identity) {
            known.is_wanted = true;
            Taken::Now(known.clone())
        } else {
            Taken::No
        }
    }
}
