//! The one `ldrscope watch` that cases share: starting it anew for each case would be most of a suite's time.
//! A case gets it with nothing standing and everything before forgotten, and leaves it so: what a case's guests
//! brought must be cleared when they are gone. A failed case takes it down.

use crate::tool::{Hooks, PATIENCE, Standing, ToolError, Watch};

/// Holds the shared `watch` between cases.
#[derive(Debug, Default)]
pub struct Bench {
    shared: Option<(Hooks, Watch)>,
}

impl Bench {
    /// The shared `watch` under `hooks`, ready, quiet, and with an empty transcript.
    pub(super) fn watch(&mut self, hooks: Hooks) -> Result<&mut Watch, ToolError> {
        let watch = match self.shared.take() {
            Some((running, watch)) if running == hooks => watch,
            _ => Watch::ready(hooks)?,
        };
        let (_, watch) = self.shared.insert((hooks, watch));
        watch.forget();
        Ok(watch)
    }

    /// Ends the shared `watch`: for cases that start their own.
    pub(super) fn clear(&mut self) {
        self.shared = None;
    }

    /// After a case's guests are gone: waits until nothing of them stands any more.
    pub(super) fn finish_case(&mut self) -> Result<(), ToolError> {
        match &mut self.shared {
            Some((_, watch)) => watch.wait_for(
                "what the case's guests brought is cleared",
                PATIENCE,
                Standing::is_empty,
            ),
            None => Ok(()),
        }
    }
}
