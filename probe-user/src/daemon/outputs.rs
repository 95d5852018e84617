//! All outputs that take what the engine says, as one: what is told goes through the limit to the event log and the journal,
//! and what turns critical has a snapshot written. Everything here returns at once.

use std::{collections::BTreeMap, io, path::Path};

use probe_apic::id::BootTime;

use super::{
    config::Settings,
    event_log::{EventLog, EventLogError},
    journal::{self, Journal},
    limiter::Limiter,
    metrics::OutputCounters,
    snapshots::{Reason, Snapshots, automatic::Automatic},
};
use crate::{
    cli::JournalMode,
    clock::WallClock,
    engine::{output::Output, view::HostView},
};

/// An output cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OutputsError {
    /// The event log.
    #[error(transparent)]
    EventLog(#[from] EventLogError),
    /// The way to journald.
    #[error("there is no socket to speak to journald by")]
    Journal(#[source] io::Error),
}

/// The outputs that are in use.
#[derive(Debug)]
pub struct Outputs {
    limiter: Limiter,
    event_log: Option<EventLog>,
    journal: Option<Journal>,
    snapshots: Option<Snapshots>,
    automatic: Automatic,
    written: BTreeMap<&'static str, u64>,
    unwritten: u64,
}

impl Outputs {
    /// Opens what the settings ask for; their directories are there ([`Settings::prepare`]).
    ///
    /// # Errors
    /// The first output that cannot be opened.
    pub fn open(settings: &Settings, now: BootTime) -> Result<Self, OutputsError> {
        let journald = Path::new(journal::SOCKET);
        let wants_journal = match settings.journal {
            JournalMode::Auto => Journal::is_there(journald),
            JournalMode::On => true,
            JournalMode::Off => false,
        };
        let journal = wants_journal.then(|| Journal::new(journald)).transpose();
        let event_log = settings.event_log.as_deref();
        let keep = usize::try_from(settings.snapshot_keep).unwrap_or(usize::MAX);
        Ok(Self {
            limiter: Limiter::new(settings.rate_limit),
            event_log: event_log.map(|path| EventLog::open(path, now)).transpose()?,
            journal: journal.map_err(OutputsError::Journal)?,
            snapshots: settings
                .snapshot_dir
                .clone()
                .map(|directory| Snapshots::new(directory, keep, settings.snapshot_max_size)),
            automatic: Automatic::default(),
            written: BTreeMap::new(),
            unwritten: 0,
        })
    }

    /// Tells what the engine said, as far as it may be told now. `wall` is the wall clock of the moment `now`.
    pub fn tell(&mut self, outputs: Vec<Output>, wall: WallClock, now: BootTime) {
        for output in outputs {
            if self.snapshots.is_some() {
                self.automatic.note(&output);
            }
            self.limiter.push(output);
        }
        let told = self.limiter.take(now);
        self.emit(&told, wall, now);
    }

    /// Does what [`Self::next_due`] asked for, but for snapshots.
    pub fn tick(&mut self, wall: WallClock, now: BootTime) {
        self.tell(Vec::new(), wall, now);
        if let Some(event_log) = &mut self.event_log {
            event_log.tick(wall, now);
        }
        if let Some(journal) = &mut self.journal {
            journal.tick(wall, now);
        }
    }

    /// When to call [`Self::tick`], and [`Self::snapshot_is_due`], next.
    #[must_use]
    pub fn next_due(&self) -> Option<BootTime> {
        [
            self.limiter.next_due(),
            self.event_log.as_ref().and_then(EventLog::next_due),
            self.journal.as_ref().and_then(Journal::next_due),
            self.automatic.next_due(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether something turned critical of which there is no snapshot yet, and it is time for one. Asked once for each.
    pub fn snapshot_is_due(&mut self, now: BootTime) -> bool {
        self.automatic.take_due(now)
    }

    /// Writes a snapshot, and says where; what goes wrong is told and counted.
    pub fn write_snapshot(&mut self, host: &HostView<'_>, wall: WallClock, reason: Reason) {
        let Some(snapshots) = &self.snapshots else {
            log::warn!("no snapshot is written: there is no snapshot-dir");
            return;
        };
        match snapshots.write(host, wall, reason) {
            Ok(path) => {
                *self.written.entry(reason.name()).or_default() += 1;
                log::info!("snapshot: {}", path.display());
            }
            Err(error) => {
                self.unwritten += 1;
                log::error!("{error}");
            }
        }
    }

    /// Opens the event log anew, and says so.
    pub fn reopen(&mut self, now: BootTime) {
        let Some(event_log) = &mut self.event_log else {
            log::info!("there is no event log to open anew");
            return;
        };
        match event_log.reopen(now) {
            Ok(()) => log::info!("the event log {} was opened anew", event_log.path().display()),
            Err(error) => log::error!("{:#}; the old file stays in use", anyhow::Error::new(error)),
        }
    }

    /// The engine ends, and with it the numbers by which it knows VMs: tells all that is left and forgets them.
    pub fn forget_vms(&mut self, wall: WallClock, now: BootTime) {
        let told = self.limiter.finish(now);
        self.emit(&told, wall, now);
        self.automatic = Automatic::default();
    }

    /// Tells all that is left, whatever the limit, and hands it on. Whether nothing waits any more: if not, it can be called
    /// again after a while.
    pub fn finish(&mut self, wall: WallClock, now: BootTime) -> bool {
        self.forget_vms(wall, now);
        if let Some(event_log) = &mut self.event_log {
            event_log.tick(wall, now);
        }
        let sent = self
            .journal
            .as_mut()
            .is_none_or(|journal| journal.flush(wall, now));
        sent && self.event_log.as_ref().is_none_or(|log| log.next_due().is_none())
    }

    /// What became of it all, for the metrics.
    #[must_use]
    pub fn counters(&self) -> OutputCounters {
        let errors = [
            ("event-log", self.event_log.as_ref().map(EventLog::losses)),
            ("journal", self.journal.as_ref().map(Journal::losses)),
            ("snapshot", self.snapshots.as_ref().map(|_| self.unwritten)),
        ];
        let snapshots = Reason::ALL.map(|reason| {
            let written = self.written.get(reason.name()).copied();
            (reason.name(), written.unwrap_or(0))
        });
        OutputCounters {
            suppressed_lines: self.limiter.suppressed(),
            errors: errors
                .into_iter()
                .filter_map(|(output, count)| Some((output, count?)))
                .collect(),
            snapshots: BTreeMap::from(snapshots),
        }
    }

    fn emit(&mut self, told: &[Output], wall: WallClock, now: BootTime) {
        for output in told {
            if let Some(event_log) = &mut self.event_log {
                event_log.emit(output, wall, now);
            }
            if let Some(journal) = &mut self.journal {
                journal.emit(output, wall, now);
            }
        }
    }
}
