//! What is kept of a host as something turns critical, or as somebody asks: a snapshot of it, and a recording of what led
//! there.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use probe_apic::{
    finding::{FindingKey, Severity},
    id::{BootTime, VmId},
    tracker::ChangeKind,
};

use super::shelf::{Reason, Shelf, ShelfError};
use crate::{
    clock::{self, WallClock},
    engine::{Engine, output::Output},
    identity::VmIdentity,
    live::{Scene, Witness},
    observer::{HostFacts, Report},
    sink::snapshot_json,
    tape::FlightRecorder,
};

/// Between two looks that nobody asked for, in nanoseconds.
const PAUSE: u64 = 10_000_000_000;

/// What is kept, and where.
#[derive(Debug)]
pub struct Evidence {
    snapshots: Option<Shelf>,
    flight: Option<(FlightRecorder, Shelf)>,
    /// The findings that are critical now.
    critical: BTreeSet<(VmId, FindingKey)>,
    /// When what turned critical is to be kept.
    due: Option<BootTime>,
    /// No sooner than this.
    not_before: BootTime,
    written: [Written; 2],
}

/// Files written, by what asked for them.
type Written = BTreeMap<&'static str, u64>;

/// Something could not be kept: of which output, and why.
pub(super) type Failure = (&'static str, ShelfError);

impl Evidence {
    /// Keeps what is wanted, snapshots and what a flight recorder holds, each in its directory.
    #[must_use]
    pub fn new(snapshots: Option<Shelf>, flight: Option<(FlightRecorder, Shelf)>) -> Self {
        // Series that are there before the first file: an increase from nothing is none to Prometheus.
        let none = |wanted: bool| -> Written {
            let reasons = [Reason::Signal, Reason::Critical].into_iter();
            reasons
                .filter(|_| wanted)
                .map(|reason| (reason.name(), 0))
                .collect()
        };
        Self {
            written: [none(snapshots.is_some()), none(flight.is_some())],
            snapshots,
            flight,
            critical: BTreeSet::new(),
            due: None,
            not_before: BootTime(0),
        }
    }

    /// The outputs that are in use, as the metrics call them.
    pub(super) fn outputs(&self) -> impl Iterator<Item = &'static str> {
        let snapshots = self.snapshots.is_some().then_some(SNAPSHOTS);
        let recordings = self.flight.is_some().then_some(RECORDINGS);
        snapshots.into_iter().chain(recordings)
    }

    /// Snapshots written, by what asked for them.
    pub(super) const fn snapshots(&self) -> &Written {
        &self.written[0]
    }

    /// Recordings written, by what asked for them.
    pub(super) const fn recordings(&self) -> &Written {
        &self.written[1]
    }

    /// Bytes that the flight recorder holds, where there is one.
    pub(super) fn held(&self) -> Option<usize> {
        self.flight.as_ref().map(|(recorder, _)| recorder.held())
    }

    /// Takes note of what turns critical.
    pub(super) fn watch(&mut self, output: &Output, now: BootTime) {
        let Output::Event(event) = output else { return };
        let change = &event.change;
        let key = (change.vm, change.finding.key);
        let critical = change.kind != ChangeKind::Cleared && change.finding.severity == Severity::Critical;
        if !critical {
            self.critical.remove(&key);
        } else if self.critical.insert(key) && self.outputs().next().is_some() {
            self.due.get_or_insert(self.not_before.max(now));
        }
    }

    /// When to call [`Self::tick`] next.
    pub(super) const fn next_due(&self) -> Option<BootTime> {
        self.due
    }

    /// Keeps what has come due.
    pub(super) fn tick(&mut self, scene: &Scene<'_>, now: BootTime) -> Vec<Failure> {
        if self.due.is_none_or(|due| now < due) {
            return Vec::new();
        }
        self.due = None;
        self.not_before = now.plus(PAUSE);
        self.keep(Reason::Critical, scene)
    }

    /// The VMs are gone, and what is observed next numbers its own anew.
    pub(super) fn forget_vms(&mut self) {
        self.critical.clear();
        self.due = None;
    }

    /// Keeps what is wanted of the host as it is now, and says what could not be kept.
    pub(super) fn keep(&mut self, reason: Reason, scene: &Scene<'_>) -> Vec<Failure> {
        if self.outputs().next().is_none() {
            if reason == Reason::Signal {
                log::warn!(
                    "SIGUSR1: there is no directory for snapshots or recordings; name one with `snapshot-dir` or \
                     `recording-dir`"
                );
            }
            return Vec::new();
        }
        let Some(engine) = scene.engine else {
            log::warn!("nothing was kept of this host: nothing is observed at the moment");
            return Vec::new();
        };
        let mut failures = Vec::new();
        let [snapshots, recordings] = &mut self.written;
        if let Some(shelf) = &self.snapshots {
            match snapshot(shelf, engine, reason) {
                Ok(path) => note(snapshots, reason, "snapshot", &path),
                Err(error) => failures.push((SNAPSHOTS, error)),
            }
        }
        if let Some((recorder, shelf)) = &mut self.flight {
            match recording(recorder, shelf, reason) {
                Ok(path) => note(recordings, reason, "recording", &path),
                Err(error) => failures.push((RECORDINGS, error)),
            }
        }
        failures
    }
}

fn note(written: &mut Written, reason: Reason, what: &str, path: &std::path::Path) {
    *written.entry(reason.name()).or_default() += 1;
    log::info!("{what} written: {}", path.display());
}

fn snapshot(shelf: &Shelf, engine: &Engine, reason: Reason) -> Result<PathBuf, ShelfError> {
    let (now, wall) = (clock::now(), WallClock::read());
    let mut document = Vec::new();
    snapshot_json::write(&mut document, &engine.view(now), wall).map_err(|error| shelf.refused(error))?;
    shelf.store(wall.stamp(now), reason, &[&document])
}

fn recording(recorder: &mut FlightRecorder, shelf: &Shelf, reason: Reason) -> Result<PathBuf, ShelfError> {
    let now = clock::now();
    let flight = recorder.flight(now);
    shelf.store(WallClock::read().stamp(now), reason, &flight.parts())
}

impl Witness for Evidence {
    fn opened(&mut self, facts: &HostFacts, now: BootTime) {
        if let Some((recorder, _)) = &mut self.flight {
            recorder.opened(facts, WallClock::read(), now);
        }
    }

    fn reported(&mut self, report: &Report, now: BootTime) {
        if let Some((recorder, _)) = &mut self.flight {
            recorder.reported(report, now);
        }
    }

    fn identified(&mut self, vm: VmId, identity: &VmIdentity, now: BootTime) {
        if let Some((recorder, _)) = &mut self.flight {
            recorder.identified(vm, identity, now);
        }
    }

    fn polled(&mut self, now: BootTime, told: bool) {
        if let Some((recorder, _)) = &mut self.flight {
            recorder.polled(WallClock::read(), now, told);
        }
    }

    fn unloaded(&mut self, now: BootTime) {
        if let Some((recorder, _)) = &mut self.flight {
            recorder.unloaded(now);
        }
    }
}

/// Names of the outputs in the metrics.
const SNAPSHOTS: &str = "snapshots";
const RECORDINGS: &str = "recordings";
