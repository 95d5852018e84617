//! How long the steps of a start take, for the log: whoever asks why ldrscope is not there yet, or what a host of theirs makes
//! slow, finds it with `-vv`.

use probe_apic::id::BootTime;

use crate::clock;

/// Steps, one after the other.
#[derive(Debug)]
pub struct Steps {
    since: BootTime,
}

impl Steps {
    /// The first begins now.
    #[must_use]
    pub fn begin() -> Self {
        Self { since: clock::now() }
    }

    /// One ends, and the next begins.
    pub fn done(&mut self, step: &str) {
        let now = clock::now();
        log::debug!("{step} took {} us", now.since(self.since) / 1000);
        self.since = now;
    }
}
