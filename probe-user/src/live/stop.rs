//! The signals that end the loop in order.

use tokio::{
    select,
    signal::unix::{Signal, SignalKind, signal},
};

use crate::kernel::obstacle::Obstacle;

pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    pub(crate) fn new() -> Result<Self, Obstacle> {
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
        })
    }

    pub(crate) async fn requested(&mut self) {
        select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Takes a signal over from the kernel's default.
pub(crate) fn catch(kind: SignalKind) -> Result<Signal, Obstacle> {
    signal(kind).map_err(|source| Obstacle::internal("taking over the signals", source))
}
