//! What the loop is beside the observation: where its outputs go, and what else it has to attend to.

use std::future::Future;

use anyhow::Result;

use super::Witness;
use crate::{
    bpf::access::ProgramRuns,
    engine::{Engine, output::Output, tally::Tally},
    kernel::obstacle::Obstacle,
    observer::{Counts, Observer},
};

/// What goes on beside the observation.
pub trait Station: Witness {
    /// Something of its own that came up.
    type Call;

    /// Takes what is to be told.
    ///
    /// # Errors
    /// Where there is no use in going on.
    fn tell(&mut self, outputs: Vec<Output>, scene: &Scene<'_>) -> Result<()>;

    /// Waits for something of its own. Nothing may be lost where the wait is given up.
    fn call(&mut self) -> impl Future<Output = Self::Call>;

    /// Takes care of it.
    ///
    /// # Errors
    /// Where there is no use in going on.
    fn take(&mut self, call: Self::Call, scene: &Scene<'_>) -> Result<Flow>;

    /// The observation began, or began again.
    ///
    /// # Errors
    /// Where there is no use in going on.
    fn began(&mut self, scene: &Scene<'_>) -> Result<()> {
        let _ = scene;
        Ok(())
    }

    /// The loop ends: all that is left to say was told.
    fn ended(&mut self, scene: &Scene<'_>) {
        let _ = scene;
    }

    /// It ended, to begin again when it can; the scene says what stands in the way.
    fn interrupted(&mut self, scene: &Scene<'_>) {
        let _ = scene;
    }
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// To go on.
    GoOn,
    /// To end, in order.
    Stop,
}

/// How things stand, for a station.
pub struct Scene<'a> {
    /// The engine; `None` while nothing is observed.
    pub engine: Option<&'a Engine>,
    /// What stands in the way meanwhile.
    pub obstacle: Option<&'a Obstacle>,
    /// Times that the kernel side was opened.
    pub attachments: u64,
    /// What was done and missed since the start.
    pub counts: Counts,
    /// What the engine counted since then.
    pub tally: Tally,
    pub(super) observer: Option<&'a Observer>,
}

impl Scene<'_> {
    /// What the kernel's statistics say of each hook's program; empty while nothing is observed.
    #[must_use]
    pub fn program_runs(&self) -> Vec<ProgramRuns> {
        self.observer.map(Observer::program_runs).unwrap_or_default()
    }
}
