//! Where events and snapshots go: the journal, the event log, the directory of snapshots, each where it is wanted, behind one
//! limit of what is told of each VM.

use std::{collections::BTreeSet, path::Path, thread, time::Duration};

use probe_apic::{
    finding::{FindingKey, Severity},
    id::{BootTime, VmId},
    tracker::ChangeKind,
};

use super::{
    event_log::EventLog,
    journal::Journal,
    limiter::Limiter,
    metrics::OutputCounters,
    snapshots::{Reason, Snapshots},
};
use crate::{
    clock::{self, WallClock},
    engine::output::Output,
    live::Scene,
};

/// How often, and how far apart, journald is asked to take what waits as the daemon ends.
const LAST_ATTEMPTS: u32 = 10;
const LAST_PAUSE: Duration = Duration::from_millis(50);

/// Between two snapshots that nobody asked for, in nanoseconds.
const SNAPSHOT_PAUSE: u64 = 10_000_000_000;

/// Where events and snapshots go.
#[derive(Debug)]
pub struct Outlets {
    limiter: Limiter,
    journal: Option<Journal>,
    event_log: Option<EventLog>,
    snapshots: Option<Snapshots>,
    /// The findings that are critical now.
    critical: BTreeSet<(VmId, FindingKey)>,
    /// When a snapshot is to be written of what turned critical.
    snapshot_at: Option<BootTime>,
    /// No sooner than this.
    next_snapshot: BootTime,
    counters: OutputCounters,
}

impl Outlets {
    /// Feeds those that are there.
    #[must_use]
    pub fn new(
        limiter: Limiter,
        journal: Option<Journal>,
        event_log: Option<EventLog>,
        snapshots: Option<Snapshots>,
    ) -> Self {
        let mut outlets = Self {
            limiter,
            journal,
            event_log,
            snapshots,
            critical: BTreeSet::new(),
            snapshot_at: None,
            next_snapshot: BootTime(0),
            counters: OutputCounters::default(),
        };
        // Series that are there before the first failure: an increase from nothing is none to Prometheus.
        for (wanted, output) in [
            (outlets.journal.is_some(), JOURNAL),
            (outlets.event_log.is_some(), EVENT_LOG),
            (outlets.snapshots.is_some(), SNAPSHOTS),
        ] {
            if wanted {
                outlets.counters.errors.insert(output, 0);
            }
        }
        if outlets.snapshots.is_some() {
            for reason in [Reason::Signal, Reason::Critical] {
                outlets.counters.snapshots.insert(reason.name(), 0);
            }
        }
        outlets
    }

    /// Takes what is to be told.
    pub fn tell(&mut self, outputs: Vec<Output>, scene: &Scene<'_>) {
        let now = clock::now();
        for output in outputs {
            self.watch_for_critical(&output, now);
            self.limiter.push(output);
        }
        self.pass_on(now);
        self.tick(scene);
    }

    /// What has come due.
    pub fn tick(&mut self, scene: &Scene<'_>) {
        let (now, wall) = (clock::now(), WallClock::read());
        self.pass_on(now);
        if let Some(journal) = &mut self.journal {
            journal.tick(wall, now);
        }
        if let Some(event_log) = &mut self.event_log {
            event_log.tick(wall, now);
        }
        if self.snapshot_at.is_some_and(|at| at <= now) {
            self.snapshot_at = None;
            self.next_snapshot = now.plus(SNAPSHOT_PAUSE);
            self.write_snapshot(Reason::Critical, scene);
        }
    }

    /// When to call [`Self::tick`] next.
    #[must_use]
    pub fn next_due(&self) -> Option<BootTime> {
        [
            self.limiter.next_due(),
            self.journal.as_ref().and_then(Journal::next_due),
            self.event_log.as_ref().and_then(EventLog::next_due),
            self.snapshot_at,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Opens the event log anew.
    pub fn reopen(&mut self) {
        let Some(event_log) = &mut self.event_log else {
            log::info!("SIGHUP: there is no event log to be opened anew");
            return;
        };
        match event_log.reopen(clock::now()) {
            Ok(()) => log::info!("the event log {} was opened anew", event_log.path().display()),
            Err(error) => self.failed(EVENT_LOG, &error),
        }
    }

    /// Writes the host as it is now.
    pub fn write_snapshot(&mut self, reason: Reason, scene: &Scene<'_>) {
        let Some(snapshots) = &self.snapshots else {
            if reason == Reason::Signal {
                log::warn!("SIGUSR1: there is no directory for snapshots; name one with `snapshot-dir`");
            }
            return;
        };
        let Some(engine) = scene.engine else {
            log::warn!("no snapshot was written: nothing is observed at the moment");
            return;
        };
        match snapshots.write(&engine.view(clock::now()), WallClock::read(), reason) {
            Ok(path) => self.wrote_snapshot(reason, &path),
            Err(error) => self.failed(SNAPSHOTS, &error),
        }
    }

    /// The VMs are gone, and what is observed next numbers its own anew: says all that is left to say of them.
    pub fn forget_vms(&mut self) {
        let now = clock::now();
        let last = self.limiter.finish(now);
        self.emit(last, now);
        self.critical.clear();
        self.snapshot_at = None;
    }

    /// Says all that is left to say; what nobody takes is lost and counted.
    pub fn finish(&mut self) {
        self.forget_vms();
        let (now, wall) = (clock::now(), WallClock::read());
        if let Some(journal) = &mut self.journal {
            // Within a second, all in all, even of a journald that reads nothing.
            for _ in 0..LAST_ATTEMPTS {
                if journal.flush(wall, now) {
                    break;
                }
                thread::sleep(LAST_PAUSE);
            }
        }
        if let Some(event_log) = &mut self.event_log {
            event_log.tick(wall, now);
        }
    }

    /// Notes that an output of another room failed.
    pub fn failed(&mut self, output: &'static str, error: &dyn std::error::Error) {
        *self.counters.errors.entry(output).or_default() += 1;
        let source = error
            .source()
            .map_or_else(String::new, |source| format!(": {source}"));
        log::error!("{error}{source}");
    }

    /// What became of what was to be written.
    #[must_use]
    pub fn counters(&self) -> OutputCounters {
        let mut counters = self.counters.clone();
        counters.suppressed_lines = self.limiter.suppressed();
        let losses = [
            (JOURNAL, self.journal.as_ref().map(Journal::losses)),
            (EVENT_LOG, self.event_log.as_ref().map(EventLog::losses)),
        ];
        for (output, lost) in losses {
            if let Some(lost) = lost {
                *counters.errors.entry(output).or_default() += lost;
            }
        }
        counters
    }

    fn pass_on(&mut self, now: BootTime) {
        let told = self.limiter.take(now);
        self.emit(told, now);
    }

    fn emit(&mut self, outputs: Vec<Output>, now: BootTime) {
        if outputs.is_empty() {
            return;
        }
        let wall = WallClock::read();
        for output in &outputs {
            if let Some(journal) = &mut self.journal {
                journal.emit(output, wall, now);
            }
            if let Some(event_log) = &mut self.event_log {
                event_log.emit(output, wall, now);
            }
        }
    }

    /// Has a snapshot written of what turns critical.
    fn watch_for_critical(&mut self, output: &Output, now: BootTime) {
        let Output::Event(event) = output else { return };
        let change = &event.change;
        let key = (change.vm, change.finding.key);
        let critical = change.kind != ChangeKind::Cleared && change.finding.severity == Severity::Critical;
        if !critical {
            self.critical.remove(&key);
        } else if self.critical.insert(key) && self.snapshots.is_some() {
            self.snapshot_at.get_or_insert(self.next_snapshot.max(now));
        }
    }

    fn wrote_snapshot(&mut self, reason: Reason, path: &Path) {
        *self.counters.snapshots.entry(reason.name()).or_default() += 1;
        log::info!("snapshot written: {}", path.display());
    }
}

/// Names of the outputs in the metrics.
const JOURNAL: &str = "journal";
const EVENT_LOG: &str = "event-log";
const SNAPSHOTS: &str = "snapshots";
