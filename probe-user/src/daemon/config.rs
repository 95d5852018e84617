//! From flags and file to settings: read, merged, judged, before anything is opened or made.
//!
//! A flag beats the file, the file a default. What is wrong is told by its place, a line of the file or a flag, with what to
//! do about it; then nothing has been done yet.

mod error;
mod file;
mod judge;
mod print;
#[cfg(test)]
mod tests;

use std::{
    env,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

pub use self::error::ConfigError;
use self::file::Source;
use crate::{
    cli::{Hooks, JournalMode, Listen, Options, RateLimit, Serve},
    daemon::limiter::Rate,
    observer::{HookSet, ObserverOptions},
};

/// Read where no other is named, if it exists.
pub const DEFAULT_FILE: &str = "/etc/ldrscope/ldrscope.toml";

/// What the daemon is to do.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The file that was read, `None` where there was none.
    pub file: Option<PathBuf>,
    /// Where metrics are served.
    pub listen: Option<SocketAddr>,
    /// Where metrics are written to, and how often.
    pub textfile: Option<PathBuf>,
    /// How often that is.
    pub textfile_interval: Duration,
    /// Where events are written to.
    pub event_log: Option<PathBuf>,
    /// Whether they go to the journal.
    pub journal: JournalMode,
    /// Where snapshots are written to.
    pub snapshot_dir: Option<PathBuf>,
    /// How many are kept.
    pub snapshot_keep: u32,
    /// How many bytes of them are kept.
    pub snapshot_max_size: u64,
    /// Where the flight recorder's recordings are written to; `None` for no flight recorder.
    pub recording_dir: Option<PathBuf>,
    /// How many are kept.
    pub recording_keep: u32,
    /// How many bytes of them are kept.
    pub recording_max_size: u64,
    /// How many bytes of what was observed are held in memory for them, packed.
    pub recording_memory: u64,
    /// Whether there are metrics of each vCPU.
    pub vcpu_metrics: bool,
    /// How many connections are served at once.
    pub max_connections: u32,
    /// How long a condition must hold to be told.
    pub settle: Duration,
    /// The one VM that is watched; `None` for all.
    pub vm: Option<String>,
    /// How much is told of each VM; `None` for everything.
    pub rate_limit: Option<Rate>,
    /// The user that the unprivileged part becomes.
    pub user: Option<String>,
    /// Whether it locks itself into a sandbox.
    pub sandbox: bool,
    /// How to observe; its `run_time` is `program-stats`.
    pub observer: ObserverOptions,
}

/// What settings depend on beside flags and file.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The file that is read where no other is named.
    pub default_file: PathBuf,
    /// `$STATE_DIRECTORY`, as systemd sets it.
    pub state_directory: Option<PathBuf>,
}

impl Surroundings {
    /// This process's own.
    #[must_use]
    pub fn read() -> Self {
        // systemd separates several directories by colons; the unit has one.
        let first = |all: String| all.split(':').next().map(PathBuf::from);
        Self {
            default_file: DEFAULT_FILE.into(),
            state_directory: env::var("STATE_DIRECTORY")
                .ok()
                .filter(|all| !all.is_empty())
                .and_then(first),
        }
    }
}

impl Settings {
    /// Reads the file, merges and judges.
    ///
    /// # Errors
    /// The first thing that is wrong. Nothing was opened for writing, and nothing made.
    pub fn load(flags: &Serve, surroundings: &Surroundings) -> Result<Self, ConfigError> {
        let source = file::read(flags.config.as_deref(), &surroundings.default_file)?;
        let settings = merged(&flags.options, &source, surroundings);
        judge::judge(&settings, &flags.options, &source)?;
        Ok(settings)
    }

    /// Makes the directories that are still missing (mode 0750).
    ///
    /// # Errors
    /// The first that cannot be made.
    pub fn prepare(&self) -> Result<(), ConfigError> {
        self.directories().try_for_each(judge::make)
    }

    /// The directories that are written to, each with the option that names it.
    pub fn directories(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        [
            ("textfile", self.textfile.as_deref().map(judge::parent)),
            ("event-log", self.event_log.as_deref().map(judge::parent)),
            ("snapshot-dir", self.snapshot_dir.as_deref()),
            ("recording-dir", self.recording_dir.as_deref()),
        ]
        .into_iter()
        .filter_map(|(key, directory)| directory.map(|directory| (key, directory)))
    }
}

/// What no flag says the file says.
macro_rules! either {
    ($flags:expr, $file:expr, $($field:ident),* $(,)?) => {
        Options { $($field: $flags.$field.clone().or_else(|| $file.$field.clone()),)* }
    };
}

fn merged(flags: &Options, source: &Source, surroundings: &Surroundings) -> Settings {
    let file = &source.options;
    let options = either!(
        flags,
        file,
        listen,
        textfile,
        textfile_interval,
        event_log,
        journal,
        snapshot_dir,
        snapshot_keep,
        snapshot_max_size,
        recording_dir,
        recording_keep,
        recording_max_size,
        recording_memory,
        vcpu_metrics,
        program_stats,
        max_connections,
        settle,
        vm,
        rate_limit,
        user,
        no_sandbox,
        hooks,
        no_canary,
        btf,
        ring_size,
        bpf_log,
    );
    let directory = |wanted: Option<PathBuf>, below_state: &str| {
        let state = surroundings.state_directory.as_ref();
        wanted
            .or_else(|| state.map(|state| state.join(below_state)))
            .filter(|directory| directory != Path::new("none"))
    };
    Settings {
        file: source.path.clone(),
        listen: match options.listen {
            Some(Listen::Off) => None,
            Some(Listen::At(address)) => Some(address),
            None => Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9761))),
        },
        textfile: options.textfile,
        textfile_interval: options.textfile_interval.unwrap_or(Duration::from_secs(15)),
        event_log: options.event_log,
        journal: options.journal.unwrap_or(JournalMode::Auto),
        snapshot_dir: directory(options.snapshot_dir, "snapshots"),
        snapshot_keep: options.snapshot_keep.unwrap_or(20),
        snapshot_max_size: options.snapshot_max_size.unwrap_or(64 << 20),
        recording_dir: directory(options.recording_dir, "recordings"),
        recording_keep: options.recording_keep.unwrap_or(20),
        recording_max_size: options.recording_max_size.unwrap_or(64 << 20),
        recording_memory: options.recording_memory.unwrap_or(2 << 20),
        vcpu_metrics: options.vcpu_metrics.unwrap_or(false),
        max_connections: options.max_connections.unwrap_or(64),
        settle: options.settle.unwrap_or(Duration::from_millis(200)),
        vm: options.vm,
        rate_limit: match options.rate_limit {
            Some(RateLimit::Off) => None,
            Some(RateLimit::To(rate)) => Some(rate),
            None => Rate::new(1, 1_000_000_000),
        },
        user: options.user,
        sandbox: !options.no_sandbox.unwrap_or(false),
        observer: ObserverOptions {
            interrupts: false,
            hooks: options.hooks.map_or(HookSet::Auto, Hooks::into),
            canary: !options.no_canary.unwrap_or(false),
            ring_bytes: options.ring_size.unwrap_or(1 << 20),
            bpf_log: options.bpf_log.unwrap_or(false),
            run_time: options.program_stats.unwrap_or(false),
            btf: options.btf,
        },
    }
}
