//! How long a verb lasts that was not told to last for ever: until nobody reads it any more, its terminal is gone, or its time
//! is over.

use std::{future::pending, time::Duration};

use tokio::{
    select,
    signal::unix::{Signal, SignalKind},
    time::{Instant, sleep_until},
};

use crate::{kernel::obstacle::Obstacle, live, readiness::Reader};

/// The end of a verb's stay, but for the signals that the loop itself attends to.
pub(super) struct Until {
    reader: Option<Reader>,
    hang_up: Signal,
    duration: Option<Duration>,
    /// Set as the observation begins, or the wait for kvm.
    deadline: Option<Instant>,
}

impl Until {
    /// For so long, and as long as `reader` reads, where there is one.
    ///
    /// # Errors
    /// Where signals cannot be caught.
    pub(super) fn new(reader: Option<Reader>, duration: Option<Duration>) -> Result<Self, Obstacle> {
        Ok(Self {
            reader,
            hang_up: live::catch(SignalKind::hangup())?,
            duration,
            deadline: None,
        })
    }

    /// From now on the duration counts, unless it does already.
    pub(super) fn start_clock(&mut self) {
        if self.deadline.is_none() {
            self.deadline = self
                .duration
                .and_then(|duration| Instant::now().checked_add(duration));
        }
    }

    /// Returns once it is time to end.
    pub(super) async fn over(&mut self) {
        let left = async {
            match &self.reader {
                Some(reader) => reader.left().await,
                None => pending().await,
            }
        };
        select! {
            () = left => {}
            _ = self.hang_up.recv() => {}
            () = at(self.deadline) => {}
        }
    }
}

/// Waits for a moment that may never come.
pub(super) async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}
