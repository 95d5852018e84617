//! The speed at which a recording is played: when what happened at a moment of it is to be told.

use std::time::Duration;

use probe_apic::id::BootTime;
use tokio::time::Instant;

use crate::cli::Speed;

/// Nobody waits longer for a recording that claims to last for centuries.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Keeps the time.
pub(super) struct Tempo {
    /// `None` for as fast as it can be analysed.
    times: Option<f64>,
    /// A moment of the recording, and when it was due.
    began: Option<(BootTime, Instant)>,
}

impl Tempo {
    /// It begins with the first moment that is asked for.
    pub(super) const fn new(speed: Speed) -> Self {
        Self {
            times: match speed {
                Speed::Max => None,
                Speed::Times(times) => Some(times),
            },
            began: None,
        }
    }

    /// When it is time for what happened at `now`; `None` for at once.
    pub(super) fn due(&mut self, now: BootTime) -> Option<Instant> {
        let times = self.times?;
        let (first, instant) = *self.began.get_or_insert_with(|| (now, Instant::now()));
        let later = Duration::from_nanos(now.since(first)).as_secs_f64() / times;
        let later = Duration::try_from_secs_f64(later).unwrap_or(FOREVER);
        Some(instant.checked_add(later).unwrap_or(instant + FOREVER))
    }

    /// All that is still to come is due so much later.
    pub(super) fn put_off(&mut self, by: Duration) {
        self.began = self.began.map(|(first, instant)| (first, instant + by));
    }
}
