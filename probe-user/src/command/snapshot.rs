//! `snapshot`: looks once, judges what is, at once.

use std::{
    io::{self, BufWriter},
    thread,
    time::Duration,
};

use anyhow::Result;

use crate::{
    cli::{Snapshot, SnapshotFormat},
    clock::{self, WallClock},
    engine::Engine,
    exit::Exit,
    identity::{filter::VmFilter, process::ProcFs},
    kernel::obstacle::Obstacle,
    observer::{Backlog, Observer, Report},
    sink::{OutputError, snapshot_json, snapshot_table, terminal::Style},
};

/// A VM whose registers change under the read is read again, this many times at most.
const ATTEMPTS: u32 = 20;

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks, prints, ends.
///
/// # Errors
/// An [`Obstacle`], a filter that matches nothing, or an output that fails.
pub fn run(arguments: &Snapshot) -> Result<Exit> {
    let mut observer = Observer::open(&arguments.observe.options())?;
    let filter = VmFilter::new(arguments.vm.clone());
    let mut engine = Engine::new(observer.facts().clone(), 0, filter, Box::new(ProcFs));
    look(&mut observer, &mut engine)?;
    engine.check_filter()?;

    let view = engine.view(clock::now());
    let wall = WallClock::read();
    let mut out = BufWriter::new(io::stdout().lock());
    match arguments.format {
        SnapshotFormat::Table => snapshot_table::write(&mut out, &view, wall, Style::of_stdout()),
        SnapshotFormat::Json => snapshot_json::write(&mut out, &view, wall),
    }
    .map_err(OutputError)?;
    Ok(Exit::Done)
}

/// Takes in everything that exists, and again what was caught in the middle of a change.
fn look(observer: &mut Observer, engine: &mut Engine) -> Result<()> {
    let mut reports = Vec::new();
    drain(observer, &mut reports)?;
    for attempt in 0..ATTEMPTS {
        let now = clock::now();
        for report in reports.drain(..) {
            engine.feed(report, now);
        }
        let torn = engine.unsettled();
        if torn.is_empty() || attempt + 1 == ATTEMPTS {
            break;
        }
        thread::sleep(PAUSE);
        drain(observer, &mut reports)?;
        for vm in torn {
            observer.refresh(vm, &mut reports)?;
        }
    }
    Ok(())
}

/// All that waits; of a host that never holds still, as much as comes in this many batches.
fn drain(observer: &mut Observer, reports: &mut Vec<Report>) -> Result<(), Obstacle> {
    const BATCHES: u32 = 100;
    for _ in 0..BATCHES {
        observer.drain(reports)?;
        match observer.backlog() {
            Backlog::None => break,
            Backlog::More => {}
            Backlog::Retry(retry_at) => thread::sleep(Duration::from_nanos(retry_at.since(clock::now()))),
        }
    }
    Ok(())
}
