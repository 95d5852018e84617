//! The tools of an operator's fleet, the real ones: systemd and its journal, Prometheus. Each is driven as its users drive it,
//! by its commands and its HTTP, and read back as they read it. Cases for them run where systemd is PID 1.

pub mod exporter;
pub mod journal;
pub mod prometheus;
pub mod service;
pub mod systemd;

use std::process::{Command, Stdio};
use std::time::Duration;

/// What a server on this very machine may take, emulation and a busy machine included. One that answers is waited for no longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// One of the fleet's tools did not do what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// A program could not be started.
    #[error("cannot start {program}: {source}; `cargo xtask setup` installs it")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// A program failed.
    #[error("`{command}` failed ({status}): {said}")]
    Failed {
        /// With its arguments.
        command: String,
        /// Exit status.
        status: String,
        /// What it wrote to standard error.
        said: String,
    },
    /// Files or sockets of the case's own failed.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried.
        action: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A tool answered in a form that nobody documented.
    #[error("{tool} gave an odd answer: {reason}")]
    Odd {
        /// The tool.
        tool: &'static str,
        /// What is odd about it.
        reason: String,
    },
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
}

impl FleetError {
    fn io(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io {
            action: action.into(),
            source,
        }
    }
}

/// Runs `program` to its end and returns its standard output.
pub fn run(program: &str, arguments: &[&str]) -> Result<String, FleetError> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| FleetError::Start {
            program: program.to_owned(),
            source,
        })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(FleetError::Failed {
        command: format!("{program} {}", arguments.join(" ")),
        status: output.status.to_string(),
        said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
