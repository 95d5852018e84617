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
/// The same for what a person sits and waits for.
const STILL_WAITING_IMPATIENTLY: Duration = Duration::from_secs(5);

/// A step under way. Dropped without [`Step::done`], it ends without a word: its error will say more.
#[derive(Debug)]
pub(crate) struct Step {
    name: String,
    began: Instant,
    _ticker: Ticker,
}

/// Says again and again that something is being waited for, until it is dropped.
#[derive(Debug)]
pub(crate) struct Ticker {
    _end: Sender<()>,
}

/// Announces a step called `name`; `waiting_for` says what takes the time.
pub(crate) fn step(name: impl Into<String>, waiting_for: impl Display) -> Step {
    let name = name.into();
    let waiting_for = waiting_for.to_string();
    eprintln!("[xtask] {name}: waiting for {waiting_for}");
    Step {
        began: Instant::now(),
        _ticker: tick(name.clone(), waiting_for, STILL_WAITING),
        name,
    }
}

/// Waits for something that is usually there at once: says so only when it takes long.
pub(crate) fn waiting(name: impl Into<String>, waiting_for: impl Display) -> Ticker {
    tick(name.into(), waiting_for.to_string(), STILL_WAITING_IMPATIENTLY)
}

fn tick(name: String, waiting_for: String, every: Duration) -> Ticker {
    let began = Instant::now();
    let (end, stop) = mpsc::channel();
    thread::spawn(move || {
        while stop.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
            // The carriage return is for a terminal that is raw, as in an interactive lab.
            eprint!(
                "[xtask] {name}: still waiting for {waiting_for}, {} s so far\r\n",
                began.elapsed().as_secs()
            );
        }
    });
    Ticker { _end: end }
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
