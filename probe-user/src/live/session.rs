//! One stretch of observation, from an opened kernel side to the end of the kvm it is attached to.

use std::{
    future::{pending, ready},
    mem,
    os::fd::OwnedFd,
    time::Duration,
};

use probe_apic::{host::Interrupts, id::BootTime};
use tokio::{
    io::{Interest, unix::AsyncFd},
    select,
    time::{Interval, MissedTickBehavior, interval, sleep},
};

use super::{Event, KVM_POLL, LiveOptions, Witness};
use crate::{
    broker::Handover,
    clock,
    engine::{Engine, output::Output, tally::Tally},
    identity::process::ProcFs,
    kernel::{obstacle::Obstacle, support::KvmInstance},
    observer::{Backlog, Observer, Report},
    readiness,
};

/// Records in one batch by which a host counts as busy.
const BUSY: u64 = 64;

/// How long a busy host's records are let gather: one look at all of them costs little more than one at each, and guests
/// that write as fast as they can must not take a whole CPU. A ring of 1 MiB holds what 1.5 million records a second make
/// in this time.
const GATHER: Duration = Duration::from_millis(5);

/// Batches taken in before the first words.
const START_DRAINS: u32 = 100;

/// How long a host is without VMs before the fast programs give way, which pin the kvm module: a VM that ends is often
/// followed by another.
const EMPTY_FOR: u64 = 300_000_000;

/// Between two words on the interrupts that were counted, in nanoseconds.
const ACCOUNT_EVERY: u64 = 1_000_000_000;

pub(super) struct Session {
    pub(super) observer: Observer,
    pub(super) engine: Engine,
    ring: AsyncFd<OwnedFd>,
    /// The last batch showed a busy host.
    busy: bool,
    /// Kept for its capacity.
    reports: Vec<Report>,
    /// The hooks are deaf to any other.
    instance: KvmInstance,
    module_look: Interval,
    /// The fast programs are in their places, or asked for.
    fast: bool,
    /// What was said last of the interrupts that were counted, and when.
    interrupts: Interrupts,
    accounted_at: BootTime,
    /// Since when there is no VM.
    empty_since: Option<BootTime>,
}

impl Session {
    pub(super) fn new(
        handover: Handover,
        options: &LiveOptions,
        instance: KvmInstance,
        tally: Tally,
    ) -> Result<Self, Obstacle> {
        let Handover {
            access,
            facts,
            encoding,
            fast,
        } = handover;
        let observer = Observer::over(access, facts, encoding);
        let settle = clock::whole_nanos(options.settle);
        let engine = Engine::new(
            observer.facts().clone(),
            settle,
            options.filter.clone(),
            Box::new(ProcFs),
        )
        .with_tally(tally);
        let ring = readiness::watch(observer.fd(), Interest::READABLE)
            .map_err(|source| Obstacle::internal("waiting for the ring buffer", source))?;
        let mut module_look = interval(KVM_POLL);
        module_look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            observer,
            engine,
            ring,
            busy: false,
            reports: Vec::new(),
            instance,
            module_look,
            fast,
            interrupts: Interrupts::default(),
            accounted_at: BootTime(0),
            // Where no VM is at the start they give way at once.
            empty_since: Some(BootTime(0)),
        })
    }

    /// Waits for records, for something that is due, or for another kvm.
    pub(super) async fn event(&mut self) -> Event {
        let (more, retry_at) = match self.observer.backlog() {
            Backlog::More => (true, None),
            Backlog::Retry(retry_at) => (false, Some(retry_at)),
            Backlog::None => (false, None),
        };
        let due = [self.engine.next_due(), retry_at, self.observer.next_window()];
        let due = due.into_iter().flatten().min();
        if mem::take(&mut self.busy) && !more {
            sleep(GATHER).await;
            return Event::Records;
        }
        select! {
            biased;
            () = ready(()), if more => Event::Records,
            // Cleared before draining: what arrives meanwhile wakes the loop again.
            readable = self.ring.readable() => match readable {
                Ok(mut ready) => {
                    ready.clear_ready();
                    Event::Records
                }
                Err(source) => Event::Failed(Obstacle::internal("waiting for the ring buffer", source)),
            },
            _ = self.module_look.tick() => {
                if KvmInstance::present() == self.instance {
                    // Those that were missed tell of themselves in no other way.
                    Event::Records
                } else {
                    Event::OtherKvm
                }
            }
            () = until(due) => Event::Records,
        }
    }

    /// The VMs that exist already. A host whose list of VMs never holds still is watched all the same.
    pub(super) fn take_in_all(&mut self, witness: &mut impl Witness) -> Result<(), Obstacle> {
        for _ in 0..START_DRAINS {
            self.take_in(witness)?;
            if self.observer.backlog() != Backlog::More {
                break;
            }
        }
        Ok(())
    }

    /// What waits, or a batch of it.
    pub(super) fn take_in(&mut self, witness: &mut impl Witness) -> Result<(), Obstacle> {
        let before = self.observer.counts().records;
        if self.observer.counts_interrupts() {
            self.observer.count_only(self.engine.only_watched());
        }
        self.observer.drain(&mut self.reports)?;
        self.busy = self.observer.counts().records - before >= BUSY;
        self.feed(witness);
        Ok(())
    }

    /// The VMs that must be read without an event.
    pub(super) fn refresh(&mut self, witness: &mut impl Witness) -> Result<(), Obstacle> {
        for vm in self.engine.take_refresh_due(clock::now()) {
            self.observer.refresh(vm, &mut self.reports)?;
        }
        self.feed(witness);
        Ok(())
    }

    /// Whether the fast programs are to be put in or taken out now.
    pub(super) fn change_of_pace(&mut self) -> Option<bool> {
        if self.observer.has_vms() {
            self.empty_since = None;
            let was_fast = mem::replace(&mut self.fast, true);
            return (!was_fast).then_some(true);
        }
        let now = clock::now();
        let since = *self.empty_since.get_or_insert(now);
        if !self.fast || now.since(since) < EMPTY_FOR {
            return None;
        }
        self.fast = false;
        // As long as they are held here the module stays pinned.
        self.observer.stand_in(Vec::new());
        Some(false)
    }

    /// What is to be told.
    pub(super) fn poll(&mut self, witness: &mut impl Witness) -> Vec<Output> {
        let now = clock::now();
        let outputs = self.engine.poll(now);
        witness.polled(now, !outputs.is_empty());
        self.account_for_interrupts(now);
        outputs
    }

    /// How many could not be judged is of interest to few.
    fn account_for_interrupts(&mut self, now: BootTime) {
        let interrupts = self.engine.interrupts();
        if interrupts == self.interrupts || now.since(self.accounted_at) < ACCOUNT_EVERY {
            return;
        }
        (self.interrupts, self.accounted_at) = (interrupts, now);
        log::debug!(
            "{} interrupts were judged, {} could not be",
            interrupts.judged,
            interrupts.unjudged
        );
    }

    pub(super) fn start_line(&self) -> String {
        let what = match self.engine.watched() {
            0 => "no VM yet".to_owned(),
            1 => "1 VM".to_owned(),
            vms => format!("{vms} VMs"),
        };
        let facts = self.observer.facts();
        let rules = self.engine.map_rules().map_or("unknown", |rules| rules.name());
        format!(
            "watching {what} on {} (hooks {}, map rules {rules})",
            facts.kernel,
            facts.hooks()
        )
    }

    fn feed(&mut self, witness: &mut impl Witness) {
        let now = clock::now();
        for report in self.reports.drain(..) {
            if let Report::Process { vm, .. } = report {
                self.engine.feed(report, now);
                if let Some(identity) = self.engine.identity(vm) {
                    witness.identified(vm, identity, now);
                }
            } else {
                witness.reported(&report, now);
                self.engine.feed(report, now);
            }
        }
    }
}

/// Sleeps until a moment of the boot clock; for ever without one.
pub(crate) async fn until(due: Option<BootTime>) {
    match due {
        Some(due) => sleep(Duration::from_nanos(due.since(clock::now()))).await,
        None => pending().await,
    }
}
