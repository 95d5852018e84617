//! ldrscope commands that run to their end.

use std::io::Read;
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::Duration;

use super::{ToolError, command, start};
use crate::contract::{Deliver, Doctor, Snapshot};
use crate::reap;

/// A whole run, start-up, canary and a thousand VMs included, under emulation on a machine that does other things too.
const RUN_LIMIT: Duration = Duration::from_secs(120);

/// How a command ended.
#[derive(Debug)]
pub struct Outcome {
    /// Exit status; `code()` is `None` if a signal ended it.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs `command` to its end with empty stdin, collecting its output.
pub fn run_to_end(mut command: Command) -> Result<Outcome, ToolError> {
    let args = command
        .get_args()
        .map(|arg| arg.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ");
    let mut child = start(&mut command)?;
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let ended = reap::wait_at_most(&mut child, RUN_LIMIT).map_err(ToolError::child("wait for"))?;
    reap::kill(&mut child);
    let [stdout, stderr] = [stdout, stderr].map(|reader| reader.join().unwrap_or_default());
    match ended {
        Some(status) => Ok(Outcome {
            status,
            stdout,
            stderr,
        }),
        None => Err(ToolError::StillRunning {
            args,
            seconds: RUN_LIMIT.as_secs(),
            stderr,
        }),
    }
}

/// `ldrscope snapshot --format json` with further arguments; anything but exit 0 and one document is an error.
pub fn snapshot(args: &[&str]) -> Result<Snapshot, ToolError> {
    read_snapshot(&results(&["snapshot", "--format", "json"], args)?)
}

/// Reads what `ldrscope snapshot --format json` wrote.
pub fn read_snapshot(text: &str) -> Result<Snapshot, ToolError> {
    let snapshot: Snapshot = serde_json::from_str(text).map_err(|error| broken("snapshot", error))?;
    hold_schema(&snapshot.schema, "ldrscope.snapshot.v1")?;
    Ok(snapshot)
}

/// `ldrscope deliver --format json` with further arguments: a document a VM; anything but exit 0 is an error.
pub fn deliver(args: &[&str]) -> Result<Vec<Deliver>, ToolError> {
    read_deliver(&results(&["deliver", "--format", "json"], args)?)
}

/// Reads what `ldrscope deliver --format json` wrote.
pub fn read_deliver(text: &str) -> Result<Vec<Deliver>, ToolError> {
    text.lines()
        .map(|line| {
            let deliver: Deliver = serde_json::from_str(line).map_err(|error| broken("deliver", error))?;
            hold_schema(&deliver.schema, "ldrscope.deliver.v1")?;
            Ok(deliver)
        })
        .collect()
}

/// Reads what `ldrscope doctor --format json` wrote, which says so whatever it found: it ends with 0 or 3.
pub fn read_doctor(outcome: &Outcome) -> Result<Doctor, ToolError> {
    let doctor: Doctor = serde_json::from_str(&outcome.stdout).map_err(|error| broken("doctor", error))?;
    hold_schema(&doctor.schema, "ldrscope.doctor.v1")?;
    let due = if doctor.able { 0 } else { 3 };
    if outcome.status.code() == Some(due) {
        return Ok(doctor);
    }
    Err(ToolError::Ended {
        status: outcome.status.to_string(),
        stderr: outcome.stderr.clone(),
    })
}

/// The standard output of a `verb` with further arguments that ends with 0.
pub fn results(verb: &[&str], args: &[&str]) -> Result<String, ToolError> {
    let outcome = run_to_end(command(&[verb, args].concat()))?;
    if outcome.status.success() {
        return Ok(outcome.stdout);
    }
    Err(ToolError::Ended {
        status: outcome.status.to_string(),
        stderr: outcome.stderr,
    })
}

fn broken(document: &str, error: serde_json::Error) -> ToolError {
    ToolError::Contract(format!("{document}: {error}"))
}

fn hold_schema(schema: &str, wanted: &str) -> Result<(), ToolError> {
    if schema == wanted {
        return Ok(());
    }
    Err(ToolError::Contract(format!(
        "schema {schema:?} where {wanted:?} is due"
    )))
}

/// Reads a pipe to its end on a thread of its own.
fn collect<R: Read + Send + 'static>(pipe: Option<R>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read before an error is still worth showing.
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
