//! Where events go, and what is kept beside them: the journal, the event log, each where it is wanted, behind one limit of what
//! is told of each VM; and the evidence, which has no limit but its own.

use std::{thread, time::Duration};

use probe_apic::id::BootTime;

use super::{
    event_log::EventLog,
    evidence::{Evidence, Failure},
    journal::Journal,
    limiter::Limiter,
    metrics::OutputCounters,
    shelf::Reason,
};
use crate::{
    clock::{self, WallClock},
    engine::output::Output,
    live::Scene,
};

/// How often, and how far apart, journald is asked to take what waits as the daemon ends.
const LAST_ATTEMPTS: u32 = 10;
const LAST_PAUSE: Duration = Duration::from_millis(50);

/// Where events go, and what is kept.
#[derive(Debug)]
pub struct Outlets {
    limiter: Limiter,
    journal: Option<Journal>,
    event_log: Option<EventLog>,
    evidence: Evidence,
    counters: OutputCounters,
}

impl Outlets {
    /// Feeds those that are there.
    #[must_use]
    pub fn new(
        limiter: Limiter,
        journal: Option<Journal>,
        event_log: Option<EventLog>,
        evidence: Evidence,
    ) -> Self {
        let mut outlets = Self {
            limiter,
            journal,
            event_log,
            evidence,
            counters: OutputCounters::default(),
        };
        // Series that are there before the first failure: an increase from nothing is none to Prometheus.
        let journal = outlets.journal.is_some().then_some(JOURNAL);
        let event_log = outlets.event_log.is_some().then_some(EVENT_LOG);
        let outputs = journal
            .into_iter()
            .chain(event_log)
            .chain(outlets.evidence.outputs());
        outlets.counters.errors = outputs.map(|output| (output, 0)).collect();
        outlets
    }

    /// Takes what is to be told.
    pub fn tell(&mut self, outputs: Vec<Output>, scene: &Scene<'_>) {
        let now = clock::now();
        for output in outputs {
            self.evidence.watch(&output, now);
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
        let failures = self.evidence.tick(scene, now);
        self.not_kept(failures);
    }

    /// When to call [`Self::tick`] next.
    #[must_use]
    pub fn next_due(&self) -> Option<BootTime> {
        [
            self.limiter.next_due(),
            self.journal.as_ref().and_then(Journal::next_due),
            self.event_log.as_ref().and_then(EventLog::next_due),
            self.evidence.next_due(),
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

    /// Keeps a snapshot and a recording of the host, as far as they are wanted.
    pub fn keep(&mut self, reason: Reason, scene: &Scene<'_>) {
        let failures = self.evidence.keep(reason, scene);
        self.not_kept(failures);
    }

    /// Who takes down what the engine is given.
    pub const fn witness(&mut self) -> &mut Evidence {
        &mut self.evidence
    }

    /// The VMs are gone, and what is observed next numbers its own anew: says all that is left to say of them.
    pub fn forget_vms(&mut self) {
        let now = clock::now();
        let last = self.limiter.finish(now);
        self.emit(last, now);
        self.evidence.forget_vms();
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
        counters.snapshots.clone_from(self.evidence.snapshots());
        counters.recordings.clone_from(self.evidence.recordings());
        counters.recording_bytes = self.evidence.held();
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

    fn not_kept(&mut self, failures: Vec<Failure>) {
        for (output, error) in failures {
            self.failed(output, &error);
        }
    }
}

/// Names of the outputs in the metrics.
const JOURNAL: &str = "journal";
const EVENT_LOG: &str = "event-log";
