//! What xtask says while it works: every step's start, what it waits for, and how long it took, on standard error.
//!
//! Standard output stays free for results. A step that takes long says so every [`STILL_WAITING`], so that a silent
//! machine and a dead one look different in a log without a terminal.
#![expect(
    clippy::print_stderr,
    reason = "standard error is this module's whole purpose"
)]

use std::{
    fmt::Display,
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

const STILL_WAITING: Duration = Duration::from_secs(15);

/// A step under way. Dropped without [`Step::done`], it ends without a word: its error will say more.
#[derive(Debug)]
pub(crate) struct Step {
    name: String,
    began: Instant,
    /// Dropping it ends the ticker.
    _ticker: Sender<()>,
}

/// Announces a step called `name`; `waiting_for` says what takes the time.
pub(crate) fn step(name: impl Into<String>, waiting_for: impl Display) -> Step {
    let name = name.into();
    let waiting_for = waiting_for.to_string();
    eprintln!("[xtask] {name}: waiting for {waiting_for}");
    let began = Instant::now();
    let (ticker, stop) = mpsc::channel();
    let label = name.clone();
    thread::spawn(move || {
        while stop.recv_timeout(STILL_WAITING) == Err(RecvTimeoutError::Timeout) {
            eprintln!(
                "[xtask] {label}: still waiting for {waiting_for}, {} s so far",
                began.elapsed().as_secs()
            );
        }
    });
    Step {
        name,
        began,
        _ticker: ticker,
    }
}

impl Step {
    /// Announces the end of the step with its `result` and returns the time it took.
    pub(crate) fn done(self, result: impl Display) -> Duration {
        let took = self.began.elapsed();
        eprintln!("[xtask] {}: {result} ({:.1} s)", self.name, took.as_secs_f64());
        took
    }
}

/// Says one sentence.
pub(crate) fn note(sentence: impl Display) {
    eprintln!("[xtask] {sentence}");
}

/// Passes on text of another program, as it is.
pub(crate) fn quote(text: &str) {
    eprintln!("{}", text.trim_end());
}
