//! Gives an engine what another one was given, in the same order and at the same moments.
//!
//! An engine that judges as the recorded one did is polled when that was polled, and so says the same. One that judges
//! otherwise, by another settle time or as another KVM, is also polled whenever it has something due.

use std::{io::Read, time::Duration};

use jiff::Timestamp;
use probe_apic::{
    id::{BootTime, VmId},
    map_rules::MapRules,
};
use recording::{Ending, Entry, Error, Host, Reader};

use super::convert;
use crate::{
    clock::{self, WallClock},
    engine::{
        Engine,
        output::{Output, Status, StatusKind},
        tally::Tally,
    },
    identity::{
        VmIdentity,
        filter::{NoSuchVm, VmFilter},
        process::{Process, ProcessSource},
    },
    observer::Report,
};

/// VMs of which a filter that matched none tells.
const PRESENT: usize = 1000;

/// How to judge what was recorded.
#[derive(Clone, Debug, Default)]
pub struct PlayerOptions {
    /// How long a condition must hold to be told, in nanoseconds; `None` for as long as at the time.
    pub settle_nanos: Option<u64>,
    /// The VMs that are meant.
    pub filter: VmFilter,
    /// As which other KVM.
    pub as_kvm: Option<MapRules>,
    /// Where to stop; `None` for its end.
    pub until: Option<Moment>,
}

/// A moment of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Since its beginning.
    After(Duration),
    /// By the recorded host's wall clock.
    Wall(Timestamp),
}

impl Moment {
    fn on(self, began: BootTime, wall: WallClock) -> BootTime {
        match self {
            Self::After(time) => began.plus(clock::whole_nanos(time)),
            Self::Wall(wanted) => wall.moment(wanted),
        }
    }
}

/// A recording, the engine that it is given to, and where that is.
pub struct Player<R> {
    reader: Reader<R>,
    options: PlayerOptions,
    engine: Option<Engine>,
    tally: Tally,
    wall: WallClock,
    now: BootTime,
    began: Option<BootTime>,
    /// The engine judges otherwise than the recorded one did.
    otherwise: bool,
    /// Whether any VM passed the filter; if none did, those that did not.
    matched: bool,
    present: Vec<VmIdentity>,
    /// What was read and is later than the moment to stop at.
    ahead: Option<(BootTime, Entry)>,
}

/// What one step brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// It went on to this moment.
    To(BootTime),
    /// What comes next is later than the moment to stop at.
    Until,
    /// There is no more.
    End(Ending),
}

impl<R: Read> Player<R> {
    /// Opens a recording.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn open(input: R, options: PlayerOptions) -> Result<Self, Error> {
        Ok(Self {
            reader: Reader::open(input)?,
            options,
            engine: None,
            tally: Tally::default(),
            wall: WallClock::booted_at(0),
            now: BootTime::default(),
            began: None,
            otherwise: false,
            matched: false,
            present: Vec::new(),
            ahead: None,
        })
    }

    /// Plays the next entry, and appends what the engine says to `told`.
    ///
    /// # Errors
    /// As [`Reader::next_entry`]. What was played before stands.
    pub fn step(&mut self, told: &mut Vec<Output>) -> Result<Replayed, Error> {
        let next = match self.ahead.take() {
            Some(ahead) => Some(ahead),
            None => self.reader.next_entry()?,
        };
        let Some((now, entry)) = next else {
            let ending = self.reader.ending().unwrap_or(Ending::Whole);
            self.end(ending, told);
            return Ok(Replayed::End(ending));
        };
        let began = *self.began.get_or_insert(now);
        if let Some(until) = self.options.until.map(|until| until.on(began, self.wall))
            && self.engine.is_some()
            && until < now
        {
            self.now = until;
            self.ahead = Some((now, entry));
            return Ok(Replayed::Until);
        }
        if self.otherwise {
            self.catch_up(now, told);
        }
        self.now = now;
        match entry {
            Entry::Host(host) => self.begin(host),
            Entry::Clock(boot) => self.wall = WallClock::booted_at(boot),
            Entry::Observed(observation) => self.feed(Report::Observation(observation)),
            Entry::Dropped(records) => self.feed(Report::Dropped { records }),
            Entry::Uncounted(interrupts) => self.feed(Report::Uncounted { interrupts }),
            Entry::Identified(vm, identity) => self.identify(vm, convert::identity(*identity)),
            Entry::Polled => {
                if let Some(engine) = &mut self.engine {
                    told.append(&mut engine.poll(now));
                }
            }
            Entry::Unloaded => {
                if let Some(engine) = &mut self.engine {
                    engine.end(now);
                }
            }
            // The reader keeps it to itself.
            Entry::End => {}
        }
        Ok(Replayed::To(now))
    }

    /// Goes on past the moment to stop at, to the end.
    pub fn go_on(&mut self) {
        self.options.until = None;
    }

    /// The engine; `None` while the recording has said of no host.
    #[must_use]
    pub const fn engine(&self) -> Option<&Engine> {
        self.engine.as_ref()
    }

    /// Gives the engine away.
    #[must_use]
    pub fn into_engine(self) -> Option<Engine> {
        self.engine
    }

    /// The moment of the last entry.
    #[must_use]
    pub const fn now(&self) -> BootTime {
        self.now
    }

    /// The moment of the first entry.
    #[must_use]
    pub const fn began(&self) -> Option<BootTime> {
        self.began
    }

    /// The wall clock of the recorded host as it was at [`Self::now`].
    #[must_use]
    pub const fn wall(&self) -> WallClock {
        self.wall
    }

    /// Refuses a filter that no VM of the whole recording passed.
    ///
    /// # Errors
    /// [`NoSuchVm`], with the VMs there were.
    pub fn check_filter(&self) -> Result<(), NoSuchVm> {
        if self.matched {
            Ok(())
        } else {
            self.options.filter.check(self.present.iter())
        }
    }

    fn begin(&mut self, host: Host) {
        let options = &self.options;
        let settle_nanos = options.settle_nanos.unwrap_or(host.settle_nanos);
        self.otherwise = settle_nanos != host.settle_nanos || options.as_kvm.is_some();
        if let Some(engine) = self.engine.take() {
            self.tally = engine.into_tally();
        }
        let facts = convert::facts(host);
        let engine = Engine::new(facts, settle_nanos, options.filter.clone(), Box::new(Nobody))
            .with_tally(self.tally)
            .as_kvm(options.as_kvm);
        self.engine = Some(engine);
    }

    fn feed(&mut self, report: Report) {
        if let Some(engine) = &mut self.engine {
            engine.feed(report, self.now);
        }
    }

    fn identify(&mut self, vm: VmId, identity: VmIdentity) {
        if self.options.filter.matches(&identity) {
            self.matched = true;
            self.present.clear();
        } else if !self.matched && self.present.len() < PRESENT {
            self.present.push(identity.clone());
        }
        if let Some(engine) = &mut self.engine {
            engine.identified(vm, identity, self.now);
        }
    }

    /// Polls for what falls due before `now`. The reads that the engine would ask for meanwhile are in the recording, as far as
    /// they were made: asked for one by one they would never end where a recording claims that years went by.
    fn catch_up(&mut self, now: BootTime, told: &mut Vec<Output>) {
        let Some(engine) = &mut self.engine else { return };
        while let Some(due) = engine.next_to_tell().filter(|due| *due < now) {
            let moment = due.max(self.now);
            told.append(&mut engine.poll(moment));
            if engine.next_to_tell().is_some_and(|next| next <= due) {
                break;
            }
        }
    }

    /// Of a recording that was cut, what had come by then was not told yet.
    fn end(&mut self, ending: Ending, told: &mut Vec<Output>) {
        if let Some(engine) = &mut self.engine {
            told.append(&mut engine.poll(self.now));
        }
        if ending != Ending::Whole {
            told.push(Output::Status(Status {
                at: self.now,
                vm: None,
                kind: StatusKind::RecordingCut,
            }));
        }
    }
}

/// No process of this machine has anything to do with a recording.
struct Nobody;

impl ProcessSource for Nobody {
    fn read(&self, _: u32) -> Option<Process> {
        None
    }
}
