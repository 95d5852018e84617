//! Opens what the settings ask for. What cannot be opened is said by its option; then the daemon does not start.

use std::{env, io, net::SocketAddr, path::PathBuf};

use super::{
    config::Settings,
    endpoint::Endpoint,
    event_log::{EventLog, EventLogError},
    evidence::Evidence,
    journal::{self, Journal},
    limiter::Limiter,
    notify::{Environment, Notifier},
    outlets::Outlets,
    shelf::{Kind, Shelf},
    textfile::{Textfile, TextfileError},
};
use crate::{cli::JournalMode, clock, identity::filter::VmFilter, privilege::Sandbox, tape::FlightRecorder};

/// The variable by which systemd names the socket that it listens on.
const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// Why the daemon does not start: an option that names something that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The endpoint.
    #[error("nothing can be served at {address}")]
    Listen {
        /// `listen`.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The event log.
    #[error(transparent)]
    EventLog(#[from] EventLogError),
    /// The textfile.
    #[error(transparent)]
    Textfile(#[from] TextfileError),
    /// The journal.
    #[error("there can be no socket to the journal")]
    Journal(#[source] io::Error),
    /// The service manager.
    #[error("the service manager cannot be told anything")]
    Notify(#[source] io::Error),
}

impl OpenError {
    /// The fixed cause word, as printed in `error[word]`.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Listen { .. } => "listen",
            Self::EventLog(_) => "event-log",
            Self::Textfile(_) => "textfile",
            Self::Journal(_) => "journal",
            Self::Notify(_) => "notify",
        }
    }

    /// What to do about it: one sentence.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Listen { .. } => {
                "see who listens there already, as another copy of ldrscope, or name another address with `listen`, or `none`"
            }
            Self::EventLog(_) => "let the daemon's user write there, or name another file with `event-log`",
            Self::Textfile(_) => "let the daemon's user write there, or name another file with `textfile`",
            Self::Journal(_) => "do without the journal with `journal = \"off\"`",
            Self::Notify(_) => "start it by systemd, or without NOTIFY_SOCKET in its environment",
        }
    }
}

/// The endpoint, listening: of an address that asks for privileges, before they are dropped.
///
/// # Errors
/// [`OpenError::Listen`].
pub fn endpoint(settings: &Settings) -> Result<Option<Endpoint>, OpenError> {
    let bind = |address| Endpoint::bind(address).map_err(|source| OpenError::Listen { address, source });
    settings.listen.map(bind).transpose()
}

/// Where events and snapshots go. As the user that the daemon stays.
///
/// # Errors
/// The first that cannot be opened.
pub fn outlets(settings: &Settings) -> Result<Outlets, OpenError> {
    let socket = journal::SOCKET.as_ref();
    let wanted = match settings.journal {
        JournalMode::Auto => Journal::is_there(socket),
        JournalMode::On => true,
        JournalMode::Off => false,
    };
    let journal = wanted.then(|| Journal::new(socket)).transpose();
    let now = clock::now();
    let event_log = settings.event_log.as_deref();
    Ok(Outlets::new(
        Limiter::new(settings.rate_limit),
        journal.map_err(OpenError::Journal)?,
        event_log.map(|path| EventLog::open(path, now)).transpose()?,
        evidence(settings),
    ))
}

/// What is kept as something turns critical. Its directories are not touched before that.
fn evidence(settings: &Settings) -> Evidence {
    let shelf = |kind, directory: &PathBuf, keep, bytes| {
        let keep = usize::try_from(keep).unwrap_or(usize::MAX);
        Shelf::new(kind, directory.clone(), keep, bytes)
    };
    let snapshots = settings.snapshot_dir.as_ref().map(|directory| {
        let (keep, bytes) = (settings.snapshot_keep, settings.snapshot_max_size);
        shelf(Kind::Snapshot, directory, keep, bytes)
    });
    let flight = settings.recording_dir.as_ref().map(|directory| {
        let (keep, bytes) = (settings.recording_keep, settings.recording_max_size);
        let memory = usize::try_from(settings.recording_memory).unwrap_or(usize::MAX);
        let filter = VmFilter::new(settings.vm.clone());
        (
            FlightRecorder::new(settings.settle, filter, memory),
            shelf(Kind::Recording, directory, keep, bytes),
        )
    });
    Evidence::new(snapshots, flight)
}

/// The textfile.
///
/// # Errors
/// [`OpenError::Textfile`].
pub fn textfile(settings: &Settings) -> Result<Option<Textfile>, OpenError> {
    Ok(settings.textfile.clone().map(Textfile::new).transpose()?)
}

/// Who waits for word of the daemon.
///
/// # Errors
/// [`OpenError::Notify`].
pub fn notifier() -> Result<Notifier, OpenError> {
    Notifier::new(&Environment::read()).map_err(OpenError::Notify)
}

/// What must stay in reach of a daemon with these settings.
#[must_use]
pub fn sandbox(settings: &Settings) -> Sandbox {
    let notify = env::var(NOTIFY_SOCKET).unwrap_or_default();
    let mut sockets = vec![PathBuf::from(journal::SOCKET)];
    sockets.extend(notify.starts_with('/').then(|| PathBuf::from(&notify)));
    Sandbox {
        readable: Vec::new(),
        writable: settings
            .directories()
            .map(|(_, directory)| directory.to_owned())
            .collect(),
        growing: Vec::new(),
        sockets,
        abstract_sockets: notify.starts_with('@'),
        terminal: false,
    }
}
