//! The verbs, one a file: each wires observer, engine and sinks together and owns nothing but that.

pub mod check;
pub mod deliver;
pub mod diff;
pub mod doctor;
pub mod explain;
mod interrupts;
mod look;
pub mod print;
pub mod record;
pub mod replay;
pub mod reproduce;
pub mod serve;
pub mod snapshot;
mod split;
mod taped;
mod tempo;
pub mod top;
mod until;
pub mod watch;

use anyhow::Result;

use crate::{cli::Command, exit::Exit};

/// Runs a verb to its end.
///
/// # Errors
/// Whatever stopped it; [`crate::failure::report`] turns that into words and an exit code.
pub fn run(command: &Command) -> Result<Exit> {
    match command {
        Command::Watch(watch) => watch::run(watch),
        Command::Snapshot(snapshot) => snapshot::run(snapshot),
        Command::Deliver(deliver) => deliver::run(deliver),
        Command::Top(top) => top::run(top),
        Command::Record(record) => record::run(record),
        Command::Replay(replay) => replay::run(replay),
        Command::Reproduce(reproduce) => reproduce::run(reproduce),
        Command::Serve(serve) => serve::run(serve),
        Command::Check(check) => check::run(check),
        Command::Diff(diff) => diff::run(diff),
        Command::Explain(explain) => explain::run(explain),
        Command::Doctor(doctor) => doctor::run(doctor),
        Command::Print(print) => print::run(print),
    }
}
