//! `check`: one look and one line for a monitoring system, whatever happens.

use std::{
    io::{self, Write as _},
    time::Instant,
};

use anyhow::Result;

use super::look::look;
use crate::{
    cli::Check,
    engine::health::{Grade, Health},
    exit::Exit,
    failure,
    sink::{OutputError, check_line},
};

/// Looks, and says one line: also where it could not look.
///
/// # Errors
/// Only an output that fails.
pub fn run(arguments: &Check) -> Result<Exit> {
    let begun = Instant::now();
    let (exit, line) = match look(&arguments.place, &arguments.subject) {
        Ok(look) => {
            let host = look.view();
            let unread = look.engine.watched().saturating_sub(host.vms.len());
            let health = Health::of(&host, unread, look.list_is_whole);
            let line = check_line::of(&health, arguments.subject.as_kvm, begun.elapsed());
            (Exit::from(health.grade()), line)
        }
        Err(error) => {
            let (cause, sentence) = failure::cause(&error);
            (Exit::CouldNotLook, check_line::failure(cause, &sentence))
        }
    };
    say(&line)?;
    Ok(exit)
}

/// Says that the command line was wrong. A monitoring system reads 2 as critical, so this is not the usual exit.
#[must_use]
pub fn refuse(error: &clap::Error) -> Exit {
    let message = error.to_string();
    let first = message.lines().next().unwrap_or_default();
    let sentence = first.strip_prefix("error: ").unwrap_or(first);
    // Nobody is left to tell when stdout is gone; the exit code remains.
    let _ = say(&check_line::failure("usage", sentence));
    Exit::CouldNotLook
}

/// A reader that left has its answer in the exit code.
fn say(line: &str) -> Result<(), OutputError> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(OutputError(error)),
        _ => Ok(()),
    }
}

impl From<Grade> for Exit {
    fn from(grade: Grade) -> Self {
        match grade {
            Grade::Ok => Self::Done,
            Grade::Warning => Self::Warning,
            Grade::Critical => Self::Critical,
            Grade::Unknown => Self::CouldNotLook,
        }
    }
}
