//! The log on stderr: one line a record, no colour, no time (journald and terminals add their own).
//!
//! Results never go here and logs never go to stdout. Text is escaped like everything else that may hold a
//! VM's name.

use std::io::{self, Write};

use log::{LevelFilter, Log, Metadata, Record};

use crate::escape::escape_line;

/// Writes records to stderr.
struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = record.level().as_str().to_ascii_lowercase();
        let mut stderr = io::stderr().lock();
        for line in record.args().to_string().lines() {
            // Nobody is left to tell when stderr itself is gone.
            let _ = writeln!(stderr, "ldrscope: {level}: {}", escape_line(line));
        }
    }

    fn flush(&self) {}
}

/// Starts logging at the level that `-v` and `-q` ask for. A second call changes the level only.
pub fn start(level: LevelFilter) {
    static LOGGER: Stderr = Stderr;
    // The only error is "already set", and then it is this logger that was set.
    let _ = log::set_logger(&LOGGER);
    log::set_max_level(level);
}
