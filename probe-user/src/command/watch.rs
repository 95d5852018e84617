//! `watch`: observes until told to stop, and tells findings as they come and go.
//!
//! One thread, one loop: it sleeps until the kernel has something, the engine has something due, or a signal
//! comes. All judgement is the engine's; here is only the waiting.

mod readiness;

use std::{
    future::{pending, ready},
    io::{self, BufWriter},
    time::Duration,
};

use anyhow::{Context, Result};
use probe_apic::id::BootTime;
use tokio::{
    io::Interest,
    runtime::Builder,
    select,
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, interval, sleep, sleep_until},
};

use self::readiness::Reader;
use crate::{
    cli::{Watch, WatchFormat},
    clock::{self, WallClock},
    engine::Engine,
    exit::Exit,
    identity::{filter::VmFilter, process::ProcFs},
    kernel::{obstacle::Obstacle, support},
    observer::{Backlog, HostFacts, Observer, ObserverOptions, Report},
    sink::{OutputError, Sink, jsonl::JsonLines, terminal::Style, text::Text},
};

/// Between two looks for a kvm module that is not loaded yet, or not any more.
const KVM_POLL: Duration = Duration::from_millis(500);

/// Batches taken in before the first words.
const START_DRAINS: u32 = 100;

/// Runs until a signal, the given duration, or a closed pipe.
///
/// # Errors
/// An [`Obstacle`], a filter that matches nothing, or an output that fails.
pub fn run(arguments: &Watch) -> Result<Exit> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Obstacle::internal("starting the event loop", source))?;
    runtime.block_on(watch(arguments))?;
    Ok(Exit::Done)
}

async fn watch(arguments: &Watch) -> Result<()> {
    // Before anything is attached, so that a signal during the start ends it in order, too.
    let mut stop = Stop::new(arguments.duration)?;
    let options = arguments.observe.options();
    let filter = VmFilter::new(arguments.vm.clone());
    let settle = u64::try_from(arguments.settle.as_nanos()).unwrap_or(u64::MAX);
    let mut wait = arguments.wait;
    loop {
        let kvm_instance = support::kvm_instance();
        let observer = select! {
            opened = open(&options, wait) => opened?,
            () = stop.requested() => return Ok(()),
        };
        let engine = Engine::new(observer.facts().clone(), settle, filter.clone(), Box::new(ProcFs));
        let mut session = Session {
            observer,
            engine,
            sink: sink(arguments.format),
            reports: Vec::new(),
            kvm_instance: kvm_instance.or_else(support::kvm_instance),
        };
        session.start()?;
        // A module that was loaded anew has no VM yet that could match.
        if wait == arguments.wait {
            session.engine.check_filter()?;
        }
        log::info!("{}", start_line(session.observer.facts(), &session.engine));
        match session.run(&mut stop).await? {
            End::Stopped => return Ok(()),
            End::KvmUnloaded => log::warn!("the kvm module was unloaded; watching again once it is back"),
        }
        wait = true;
    }
}

/// How a session ended.
enum End {
    /// By a signal, the given duration, or a reader that left.
    Stopped,
    /// The kvm module it was attached to is gone.
    KvmUnloaded,
}

/// Opens the observer; with `wait`, once KVM is there.
async fn open(options: &ObserverOptions, wait: bool) -> Result<Observer, Obstacle> {
    let mut said = false;
    loop {
        match Observer::open(options) {
            Err(Obstacle::KvmNotLoaded) if wait => {}
            opened => return opened,
        }
        if !said {
            log::info!("the kvm module is not loaded; waiting for it");
            said = true;
        }
        sleep(KVM_POLL).await;
    }
}

fn sink(format: WatchFormat) -> Box<dyn Sink> {
    let out = BufWriter::new(io::stdout());
    match format {
        WatchFormat::Text => Box::new(Text::new(out, Style::of_stdout())),
        WatchFormat::Jsonl => Box::new(JsonLines::new(out)),
    }
}

fn start_line(facts: &HostFacts, engine: &Engine) -> String {
    let what = match engine.watched() {
        0 => "no VM yet".to_owned(),
        1 => "1 VM".to_owned(),
        vms => format!("{vms} VMs"),
    };
    let rules = engine.map_rules().map_or("unknown", |rules| rules.name());
    format!(
        "watching {what} on {} (hooks {}, map rules {rules})",
        facts.kernel, facts.hooks
    )
}

/// A running watch.
struct Session {
    observer: Observer,
    engine: Engine,
    sink: Box<dyn Sink>,
    /// Kept for its capacity.
    reports: Vec<Report>,
    /// The load of the kvm module that the hooks are attached to: they are deaf to any other.
    kvm_instance: Option<u64>,
}

impl Session {
    async fn run(&mut self, stop: &mut Stop) -> Result<End> {
        let ring = readiness::watch(self.observer.fd(), Interest::READABLE)
            .map_err(|source| Obstacle::internal("waiting for the ring buffer", source))?;
        let reader = Reader::of_stdout();
        let mut module_look = interval(KVM_POLL);
        let end = loop {
            self.refresh()?;
            self.tell()?;
            let (more, retry_at) = match self.observer.backlog() {
                Backlog::More => (true, None),
                Backlog::Retry(retry_at) => (false, Some(retry_at)),
                Backlog::None => (false, None),
            };
            let due = self.engine.next_due().into_iter().chain(retry_at).min();
            select! {
                biased;
                () = stop.requested() => break End::Stopped,
                () = reader.left() => break End::Stopped,
                () = ready(()), if more => {}
                // Cleared before draining: what arrives meanwhile wakes the loop again.
                readable = ring.readable() => {
                    readable.context("waiting for the ring buffer")?.clear_ready();
                }
                _ = module_look.tick() => {
                    if support::kvm_instance() != self.kvm_instance {
                        break End::KvmUnloaded;
                    }
                    continue;
                }
                () = until(due) => {}
            }
            self.take_in()?;
        };
        self.take_in()?;
        self.tell()?;
        Ok(end)
    }

    /// The VMs that exist already. A host whose list of VMs never holds still is watched all the same.
    fn start(&mut self) -> Result<(), Obstacle> {
        for _ in 0..START_DRAINS {
            self.take_in()?;
            if self.observer.backlog() != Backlog::More {
                break;
            }
        }
        Ok(())
    }

    /// What waits, or a batch of it.
    fn take_in(&mut self) -> Result<(), Obstacle> {
        self.observer.drain(&mut self.reports)?;
        self.feed();
        Ok(())
    }

    /// The VMs that must be read without an event.
    fn refresh(&mut self) -> Result<(), Obstacle> {
        for vm in self.engine.take_refresh_due(clock::now()) {
            self.observer.refresh(vm, &mut self.reports)?;
        }
        self.feed();
        Ok(())
    }

    fn feed(&mut self) {
        let now = clock::now();
        for report in self.reports.drain(..) {
            self.engine.feed(report, now);
        }
    }

    fn tell(&mut self) -> Result<(), OutputError> {
        let outputs = self.engine.poll(clock::now());
        if outputs.is_empty() {
            return Ok(());
        }
        let wall = WallClock::read();
        for output in &outputs {
            self.sink.emit(output, wall)?;
        }
        self.sink.flush()?;
        Ok(())
    }
}

/// Sleeps until a moment of the boot clock; for ever without one.
async fn until(due: Option<BootTime>) {
    match due {
        Some(due) => sleep(Duration::from_nanos(due.since(clock::now()))).await,
        None => pending().await,
    }
}

/// What ends a watch.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    deadline: Option<Instant>,
}

impl Stop {
    fn new(duration: Option<Duration>) -> Result<Self, Obstacle> {
        let catch =
            |kind| signal(kind).map_err(|source| Obstacle::internal("taking over the signals", source));
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
            hang_up: catch(SignalKind::hangup())?,
            deadline: duration.and_then(|duration| Instant::now().checked_add(duration)),
        })
    }

    async fn requested(&mut self) {
        let deadline = self.deadline;
        let expired = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => pending().await,
            }
        };
        select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
            () = expired => {}
        }
    }
}
