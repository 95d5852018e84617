//! Observing a loaded kernel side through its descriptors. Nothing here needs a capability on kernels from 5.19 on; before,
//! bpf(2) as a whole asks for CAP_BPF where `kernel.unprivileged_bpf_disabled` is set.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    time::Duration,
};

use aya::maps::{Map, MapData, RingBuf};

use super::{
    handles::Handles,
    ring::{Counters, Ring},
    syscall,
    window::{Copier, WindowView},
};
use crate::kernel::obstacle::{Obstacle, Source};

/// All that is needed to observe.
pub struct Access {
    /// Events of the hooks.
    pub ring: Ring,
    /// Copies on demand.
    pub copier: Copier,
    /// What was lost.
    pub counters: Counters,
    hooks: Vec<(&'static str, OwnedFd)>,
}

/// How often a hook's program ran, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramRuns {
    /// The program.
    pub program: &'static str,
    /// Runs while the kernel's statistics were on.
    pub runs: u64,
    /// Time spent in them.
    pub time: Duration,
}

impl Access {
    /// Takes the descriptors into use.
    ///
    /// # Errors
    /// Where one of them is of another kind, or the kernel refuses to map it.
    pub fn over(handles: Handles) -> Result<Self, Obstacle> {
        let ring = RingBuf::try_from(Map::RingBuf(map(handles.ring)?)).map_err(unusable)?;
        Ok(Self {
            ring: Ring::new(ring),
            copier: Copier::new(handles.copiers, WindowView::new(handles.window)?),
            counters: Counters::new(handles.counts)?,
            hooks: handles.hooks,
        })
    }

    /// Whether the hook of that program is attached.
    #[must_use]
    pub fn has(&self, program: &str) -> bool {
        self.hooks.iter().any(|(name, _)| *name == program)
    }

    /// Times that a hook's program did not run though its function did, since another program ran or a map was looked up on
    /// that CPU (`trace_call_bpf`). Kernels before 6.7 do not count them.
    #[must_use]
    pub fn missed_runs(&self) -> u64 {
        let missed = |(_, program): &(&str, OwnedFd)| {
            syscall::program_info(program.as_fd()).map_or(0, |info| info.recursion_misses)
        };
        self.hooks.iter().map(missed).sum()
    }

    /// What the kernel's statistics say of each hook's program; of those that have not run since somebody switched them on,
    /// nothing.
    #[must_use]
    pub fn runs(&self) -> Vec<ProgramRuns> {
        let read = |(program, descriptor): &(&'static str, OwnedFd)| {
            let info = syscall::program_info(descriptor.as_fd()).ok()?;
            (info.run_cnt > 0).then_some(ProgramRuns {
                program,
                runs: info.run_cnt,
                time: Duration::from_nanos(info.run_time_ns),
            })
        };
        self.hooks.iter().filter_map(read).collect()
    }
}

fn map(descriptor: OwnedFd) -> Result<MapData, Obstacle> {
    MapData::from_fd(descriptor).map_err(unusable)
}

fn unusable(source: impl Into<Source>) -> Obstacle {
    Obstacle::Internal {
        doing: "taking over the kernel side's maps",
        source: source.into(),
    }
}
