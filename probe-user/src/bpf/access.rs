//! Observing a loaded kernel side through its descriptors. Nothing here needs a capability on kernels from 5.19 on; before,
//! bpf(2) as a whole asks for CAP_BPF where `kernel.unprivileged_bpf_disabled` is set.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd as _, OwnedFd},
    time::Duration,
};

use aya::maps::{Map, MapData, RingBuf};

use super::{
    handles::Handles,
    interrupts::InterruptCounter,
    ring::{Counters, Ring},
    syscall,
    window::{Copier, WindowView},
};
use crate::kernel::{
    hook::INTERRUPT,
    obstacle::{Obstacle, Source},
};

/// All that is needed to observe.
pub struct Access {
    /// Events of the hooks.
    pub ring: Ring,
    /// Copies on demand.
    pub copier: Copier,
    /// What was lost.
    pub counters: Counters,
    /// What is counted of interrupts, where it is.
    pub interrupts: Option<InterruptCounter>,
    hooks: Vec<(&'static str, OwnedFd)>,
    /// Programs that stand in for those of hooks.
    stand_ins: Vec<(&'static str, OwnedFd)>,
    /// What those before them had to show.
    past: BTreeMap<&'static str, Account>,
}

/// What the kernel counts of a program.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    runs: u64,
    nanos: u64,
    missed: u64,
}

impl Account {
    fn of(program: &OwnedFd) -> Option<Self> {
        let info = syscall::program_info(program.as_fd()).ok()?;
        Some(Self {
            runs: info.run_cnt,
            nanos: info.run_time_ns,
            missed: info.recursion_misses,
        })
    }

    const fn plus(self, other: Self) -> Self {
        Self {
            runs: self.runs + other.runs,
            nanos: self.nanos + other.nanos,
            missed: self.missed + other.missed,
        }
    }
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
            interrupts: handles.interrupts.map(InterruptCounter::new).transpose()?,
            hooks: handles.hooks,
            stand_ins: Vec::new(),
            past: BTreeMap::new(),
        })
    }

    /// Whether the hook of that program is attached.
    #[must_use]
    pub fn has(&self, program: &str) -> bool {
        self.hooks.iter().any(|(name, _)| *name == program)
    }

    /// Takes the programs that stand in for hooks' own from now on; none where those do their work themselves. What the ones
    /// before had counted is kept. As long as they are held the kvm module cannot be unloaded.
    pub fn stand_in(&mut self, programs: Vec<(&'static str, OwnedFd)>) {
        for (name, program) in std::mem::replace(&mut self.stand_ins, programs) {
            let past = self.past.entry(name).or_default();
            *past = past.plus(Account::of(&program).unwrap_or_default());
        }
    }

    /// Times that a hook's program did not run though its function did, since another program ran or a map was looked up on
    /// that CPU (`trace_call_bpf`). Kernels before 6.7 do not count them for kprobes; an fentry program misses only what comes
    /// while it runs itself: what another task on that CPU comes to, where the kernel preempts itself.
    #[must_use]
    pub fn missed_runs(&self) -> u64 {
        self.missed(|program| program != INTERRUPT)
    }

    /// The same of the program that counts interrupts: what it misses changes nothing about what is known of a VM.
    #[must_use]
    pub fn missed_interrupts(&self) -> u64 {
        self.missed(|program| program == INTERRUPT)
    }

    fn missed(&self, of: impl Fn(&str) -> bool) -> u64 {
        let present = self.hooks.iter().chain(&self.stand_ins);
        let present: u64 = present
            .filter(|(name, _)| of(name))
            .filter_map(|(_, program)| Account::of(program))
            .map(|account| account.missed)
            .sum();
        let past = self.past.iter().filter(|(name, _)| of(name));
        present + past.map(|(_, account)| account.missed).sum::<u64>()
    }

    /// What the kernel's statistics say of each hook's programs; of those that have not run since somebody switched them on,
    /// nothing.
    #[must_use]
    pub fn runs(&self) -> Vec<ProgramRuns> {
        let account = |name: &'static str, own: &OwnedFd| {
            let stand_in = self.stand_ins.iter().find(|(of, _)| *of == name);
            let stand_in = stand_in.and_then(|(_, program)| Account::of(program));
            let past = self.past.get(name).copied().unwrap_or_default();
            Some(Account::of(own)?.plus(stand_in.unwrap_or_default()).plus(past))
        };
        let read = |(program, own): &(&'static str, OwnedFd)| {
            let account = account(program, own)?;
            (account.runs > 0).then_some(ProgramRuns {
                program,
                runs: account.runs,
                time: Duration::from_nanos(account.nanos),
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
