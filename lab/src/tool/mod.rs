//! ldrscope as a child process: started, read, timed and ended from outside, as a user's script would.
//! The binary is `$LDRSCOPE`, else `ldrscope` on PATH. What its output must look like is for `contract`,
//! what it must say for `cases`.

mod daemon;
mod exposition;
mod full_screen;
mod once;
mod recording;
mod standing;
mod watch;

use std::ffi::OsString;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub use daemon::{Daemon, read_events};
pub use exposition::Exposition;
pub use full_screen::FullScreen;
pub use once::{Outcome, deliver, read_deliver, read_doctor, read_snapshot, results, run_to_end, snapshot};
pub use recording::Recording;
pub use standing::{ProtocolError, Standing};
pub use watch::Watch;

/// How long anything may take that needs ldrscope to act, where nothing is promised about its time. Generous: emulation is
/// slow, the machine beneath may have more to do than the lab, and a pass does not wait.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Which kernel functions ldrscope hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hooks {
    /// Cold entry points only.
    Cold,
    /// Every write.
    Precise,
}

impl Hooks {
    /// The word for `--hooks`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Precise => "precise",
        }
    }
}

/// ldrscope did not run as it should, whatever it said.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The binary could not be started.
    #[error("cannot start {program:?}: {source}; set LDRSCOPE or put ldrscope on PATH")]
    Start {
        /// The binary.
        program: OsString,
        /// Why.
        source: std::io::Error,
    },
    /// A pipe or signal operation on the child failed.
    #[error("cannot {action} ldrscope: {source}")]
    Child {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// It did not end in time.
    #[error("`ldrscope {args}` had not ended after {seconds} s; its stderr: {stderr}")]
    StillRunning {
        /// The arguments.
        args: String,
        /// Seconds waited.
        seconds: u64,
        /// What it had written.
        stderr: String,
    },
    /// It ended while a case still needed it.
    #[error("`ldrscope watch` ended by itself ({status}); its stderr: {stderr}")]
    Ended {
        /// Exit status.
        status: String,
        /// What it wrote.
        stderr: String,
    },
    /// Its output breaks the contract.
    #[error("output against the contract: {0}")]
    Contract(String),
    /// What a case waited for did not come.
    #[error("{what}, but not within {seconds} s; {state}")]
    NotSeen {
        /// What was expected.
        what: String,
        /// Seconds waited.
        seconds: u64,
        /// How things stood instead.
        state: String,
    },
    /// Something came although silence was due.
    #[error("silence was due, but this came: {0}")]
    NotSilent(String),
    /// Something came that a case does not accept.
    #[error("{what}; what came:\n{transcript}")]
    Unmet {
        /// What should hold.
        what: String,
        /// All that came.
        transcript: String,
    },
    /// The beacon guest that proves readiness failed.
    #[error("the beacon guest failed: {0}")]
    Beacon(#[from] crate::guest::GuestError),
}

impl ToolError {
    fn child(action: &'static str) -> impl Fn(std::io::Error) -> Self {
        move |source| Self::Child { action, source }
    }
}

/// The binary under test.
fn program() -> OsString {
    std::env::var_os("LDRSCOPE").unwrap_or_else(|| "ldrscope".into())
}

/// A command for the binary under test with these arguments.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(args);
    command
}

/// Starts `command` without input, its two outputs piped.
pub fn start(command: &mut Command) -> Result<Child, ToolError> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| ToolError::Start {
            program: command.get_program().to_owned(),
            source,
        })
}
