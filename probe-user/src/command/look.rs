//! One look at everything that exists, for the verbs that print once and end: all that waits is taken in, and what was
//! caught in the middle of a change is read again. Or one at a recording of it, see [`recorded`]. What is made of it is
//! left to the verb.

pub(super) mod recorded;

use std::{thread, time::Duration};

use anyhow::Result;
use probe_apic::id::BootTime;

use crate::{
    cli::{Observe, Place, Subject},
    clock::{self, WallClock},
    engine::{Engine, view::HostView},
    identity::{filter::VmFilter, process::ProcFs},
    kernel::obstacle::Obstacle,
    observer::{Backlog, Observer, Report},
    steps::Steps,
};

/// A VM whose registers change under the read is read again, this many times at most.
const ATTEMPTS: u32 = 20;

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(10);

/// What a look came to.
pub(super) struct Look {
    /// The host.
    pub(super) engine: Engine,
    /// Whether KVM's list of VMs held still for long enough to be read to its end, and the kernel side had room for all of
    /// them.
    pub(super) list_is_whole: bool,
    /// The moment that it shows.
    pub(super) taken_at: BootTime,
    /// The host's wall clock then.
    pub(super) wall: WallClock,
}

impl Look {
    /// The host at that moment, judged at once.
    pub(super) fn view(&self) -> HostView<'_> {
        self.engine.view(self.taken_at)
    }
}

/// The host as it is now, or as a recording shows it.
///
/// # Errors
/// An [`Obstacle`], a [`TapeError`](crate::tape::TapeError), or a filter that matches nothing.
pub(super) fn look(place: &Place, subject: &Subject) -> Result<Look> {
    match &place.from {
        Some(path) => recorded::look(path, place.at, subject),
        None => look_around(&place.observe, subject),
    }
}

fn look_around(observe: &Observe, subject: &Subject) -> Result<Look> {
    let mut observer = Observer::open(&observe.options())?;
    let filter = VmFilter::new(subject.vm.clone());
    let mut engine =
        Engine::new(observer.facts().clone(), 0, filter, Box::new(ProcFs)).as_kvm(subject.as_kvm);
    let mut steps = Steps::begin();
    take_in(&mut observer, &mut engine)?;
    steps.done("reading the VMs that exist");
    engine.check_filter()?;
    let list_is_whole = observer.backlog() != Backlog::More && observer.counts().untracked == 0;
    Ok(Look {
        engine,
        list_is_whole,
        taken_at: clock::now(),
        wall: WallClock::read(),
    })
}

fn take_in(observer: &mut Observer, engine: &mut Engine) -> Result<(), Obstacle> {
    let mut reports = Vec::new();
    drain(observer, &mut reports)?;
    for attempt in 0..ATTEMPTS {
        let now = clock::now();
        for report in reports.drain(..) {
            engine.feed(report, now);
        }
        let torn = engine.unsettled();
        if torn.is_empty() || attempt + 1 == ATTEMPTS {
            break;
        }
        thread::sleep(PAUSE);
        drain(observer, &mut reports)?;
        for vm in torn {
            observer.refresh(vm, &mut reports)?;
        }
    }
    Ok(())
}

/// All that waits; of a host that never holds still, as much as comes in this many batches.
fn drain(observer: &mut Observer, reports: &mut Vec<Report>) -> Result<(), Obstacle> {
    const BATCHES: u32 = 100;
    for _ in 0..BATCHES {
        observer.drain(reports)?;
        match observer.backlog() {
            Backlog::None => break,
            Backlog::More => {}
            Backlog::Retry(retry_at) => thread::sleep(Duration::from_nanos(retry_at.since(clock::now()))),
        }
    }
    Ok(())
}
