//! The loop that `watch` and `serve` live in: it has the kernel side opened, observes until kvm is unloaded or somebody says
//! stop, and has it opened again.
//!
//! One thread, one wait: until the kernel has something, the engine has something due, the broker answers, or the [`Station`]
//! has something of its own. All judgement is the engine's, all output the station's; here is only the waiting.

mod session;
mod station;
mod stop;
mod witness;

use std::{future::Future, os::fd::OwnedFd, time::Duration};

use anyhow::Result;
use tokio::{
    io::unix::AsyncFd,
    runtime::Builder,
    select,
    task::LocalSet,
    time::{Instant, sleep_until},
};

use self::session::Session;
pub(crate) use self::{
    session::until,
    stop::{Stop, catch},
};
pub use self::{
    station::{Flow, Scene, Station},
    witness::Witness,
};
use crate::{
    broker::{Answered, Broker, Handover},
    clock,
    engine::tally::Tally,
    identity::filter::VmFilter,
    kernel::{obstacle::Obstacle, support::KvmInstance},
    observer::Counts,
    steps::Steps,
};

/// Between two looks for a kvm module that is not there any more.
const KVM_POLL: Duration = Duration::from_millis(500);

/// Between two looks for one that is not there yet: VMs may start as soon as it is.
const LOAD_POLL: Duration = Duration::from_millis(100);

/// Before the first new attempt at what went wrong once it had gone well; each further one takes twice as long.
const FIRST_RETRY: Duration = Duration::from_secs(2);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// How to live.
#[derive(Clone, Debug)]
pub struct LiveOptions {
    /// How long a condition must hold to be told.
    pub settle: Duration,
    /// The VMs that are meant.
    pub filter: VmFilter,
    /// Whether to wait for a kvm module that is not loaded at the start.
    pub wait: bool,
    /// Whether a filter must match a VM at the start.
    pub must_match: bool,
    /// Whether to go on trying where what was open once cannot be opened again.
    pub persist: bool,
}

/// Runs a future on an event loop of its own, on this thread.
///
/// # Errors
/// Where there can be no event loop, and those of the future.
pub fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Obstacle::internal("starting the event loop", source))?;
    LocalSet::new().block_on(&runtime, future)
}

/// Observes and feeds `station` until a signal or the station ends it.
///
/// # Errors
/// An [`Obstacle`], a filter that matches nothing, or what the station says.
pub async fn run<S: Station>(broker: Broker, options: LiveOptions, station: &mut S) -> Result<()> {
    let mut live = Live {
        link: broker.listen()?,
        broker,
        stop: Stop::new()?,
        options,
        past: Counts::default(),
        tally: Tally::default(),
        attachments: 0,
        phase: Phase::Opening(Closed::new(None, KvmInstance::present())),
    };
    live.broker.ask()?;
    while live.step(station).await? == Flow::GoOn {}
    live.finish(station)
}

struct Live {
    link: AsyncFd<OwnedFd>,
    broker: Broker,
    stop: Stop,
    options: LiveOptions,
    /// Of the observers before the present one.
    past: Counts,
    /// Of the engines before the present one.
    tally: Tally,
    attachments: u64,
    phase: Phase,
}

enum Phase {
    /// Nothing is open, and nothing asked for.
    Closed(Closed),
    /// The broker was asked.
    Opening(Closed),
    /// The kernel side is open.
    Observing(Box<Session>),
}

/// While nothing is observed.
struct Closed {
    /// Why.
    obstacle: Option<Obstacle>,
    /// The kvm at the last attempt.
    instance: KvmInstance,
    /// Not to be tried again before, with that same kvm.
    not_before: Option<Instant>,
    /// Before the attempt after that.
    pause: Duration,
    /// When to look for another kvm. A moment and no wait: waits are given up for whatever the station has.
    look_at: Instant,
}

impl Closed {
    fn new(obstacle: Option<Obstacle>, instance: KvmInstance) -> Self {
        Self {
            obstacle,
            instance,
            not_before: None,
            pause: Duration::ZERO,
            look_at: Instant::now() + LOAD_POLL,
        }
    }
}

impl Live {
    /// Waits for one thing and takes care of it.
    async fn step<S: Station>(&mut self, station: &mut S) -> Result<Flow> {
        if let Phase::Observing(session) = &mut self.phase {
            session.refresh(station)?;
            if let Some(fast) = session.change_of_pace() {
                self.broker.quicken(fast)?;
            }
            let outputs = session.poll(station);
            station.tell(outputs, &self.scene())?;
        }
        select! {
            biased;
            () = self.stop.requested() => Ok(Flow::Stop),
            call = station.call() => station.take(call, &self.scene()),
            event = self.phase.event(&self.broker, &self.link) => {
                self.take(event, station).map(|()| Flow::GoOn)
            }
        }
    }

    fn take<S: Station>(&mut self, event: Event, station: &mut S) -> Result<()> {
        match (event, &mut self.phase) {
            (Event::Records, Phase::Observing(session)) => Ok(session.take_in(station)?),
            (Event::OtherKvm, Phase::Observing(_)) => self.unloaded(station),
            (Event::Answer(Ok(Answered::Opened(handover))), _) => self.begin(*handover, station),
            (Event::Answer(Ok(Answered::Exchanged(programs))), Phase::Observing(session)) => {
                session.observer.stand_in(programs);
                Ok(())
            }
            (Event::Answer(Err(obstacle)), _) => self.refused(obstacle, station),
            (Event::Due, Phase::Closed(_)) => Ok(self.ask()?),
            (Event::Failed(obstacle), _) => Err(obstacle.into()),
            // Of a session that is over.
            (Event::Answer(Ok(Answered::Exchanged(_))), _) => Ok(()),
            (Event::Due | Event::Records | Event::OtherKvm, _) => Ok(()),
        }
    }

    /// Asks the broker, unless the same kvm was in the way a moment ago.
    fn ask(&mut self) -> Result<(), Obstacle> {
        let Phase::Closed(closed) = &mut self.phase else {
            return Ok(());
        };
        closed.look_at = Instant::now() + LOAD_POLL;
        let instance = KvmInstance::present();
        if closed.instance == instance && closed.not_before.is_some_and(|at| Instant::now() < at) {
            return Ok(());
        }
        self.broker.ask()?;
        let asked = Closed {
            pause: closed.pause,
            ..Closed::new(closed.obstacle.take(), instance)
        };
        self.phase = Phase::Opening(asked);
        Ok(())
    }

    fn begin<S: Station>(&mut self, handover: Handover, station: &mut S) -> Result<()> {
        let Phase::Opening(closed) = &self.phase else {
            return Ok(());
        };
        let mut session = Session::new(handover, &self.options, closed.instance, self.tally)?;
        station.opened(session.observer.facts(), clock::now());
        let mut steps = Steps::begin();
        session.take_in_all(station)?;
        steps.done("reading the VMs that exist");
        if self.attachments == 0 && self.options.must_match {
            session.engine.check_filter()?;
        }
        log::info!("{}", session.start_line());
        self.attachments += 1;
        self.phase = Phase::Observing(Box::new(session));
        station.began(&self.scene())
    }

    fn refused<S: Station>(&mut self, obstacle: Obstacle, station: &mut S) -> Result<()> {
        let again = self.attachments > 0;
        let Phase::Opening(closed) = &mut self.phase else {
            return Err(obstacle.into());
        };
        let mut closed = Closed {
            pause: closed.pause,
            ..Closed::new(closed.obstacle.take(), closed.instance)
        };
        let unloaded = matches!(obstacle, Obstacle::KvmNotLoaded);
        if unloaded && (again || self.options.wait) {
            if !matches!(closed.obstacle, Some(Obstacle::KvmNotLoaded)) {
                log::info!("the kvm module is not loaded; waiting for it");
            }
            // What makes it usable is another instance, and looked for more often.
            closed.not_before = Some(Instant::now() + FIRST_RETRY);
            closed.pause = Duration::ZERO;
        } else if again && self.options.persist {
            log::error!(
                "not observing, error[{}]: {}; remedy: {}",
                obstacle.word(),
                obstacle.in_full(),
                obstacle.remedy()
            );
            closed.pause = (closed.pause * 2).clamp(FIRST_RETRY, LONGEST_RETRY);
            closed.not_before = Some(Instant::now() + closed.pause);
        } else {
            return Err(obstacle.into());
        }
        closed.obstacle = Some(obstacle);
        self.phase = Phase::Closed(closed);
        station.interrupted(&self.scene());
        Ok(())
    }

    /// Its hooks are deaf to any other kvm, and no VM outlived the one they were attached to.
    fn unloaded<S: Station>(&mut self, station: &mut S) -> Result<()> {
        log::warn!("the kvm module was unloaded or loaded anew; watching again once it is there");
        self.end_session(station, |session, station| {
            let now = clock::now();
            session.engine.end(now);
            station.unloaded(now);
        })?;
        let Scene { counts, tally, .. } = self.scene();
        (self.past, self.tally) = (counts, tally);
        self.broker.close()?;
        self.phase = Phase::Closed(Closed::new(Some(Obstacle::KvmNotLoaded), KvmInstance::default()));
        station.interrupted(&self.scene());
        Ok(())
    }

    /// Takes in what waits, has the engine told of the end by `close`, and tells what is to be told.
    fn end_session<S: Station>(
        &mut self,
        station: &mut S,
        close: impl FnOnce(&mut Session, &mut S),
    ) -> Result<()> {
        let Phase::Observing(session) = &mut self.phase else {
            return Ok(());
        };
        session.take_in(station)?;
        close(session, station);
        let outputs = session.poll(station);
        station.tell(outputs, &self.scene())?;
        Ok(())
    }

    fn finish<S: Station>(mut self, station: &mut S) -> Result<()> {
        self.end_session(station, |_, _| ())?;
        station.ended(&self.scene());
        Ok(())
    }

    fn scene(&self) -> Scene<'_> {
        let (session, obstacle) = match &self.phase {
            Phase::Closed(closed) | Phase::Opening(closed) => (None, closed.obstacle.as_ref()),
            Phase::Observing(session) => (Some(session), None),
        };
        let observer = session.map(|session| &session.observer);
        let engine = session.map(|session| &session.engine);
        Scene {
            engine,
            obstacle,
            tally: engine.map_or(self.tally, |engine| *engine.tally()),
            attachments: self.attachments,
            counts: observer.map_or(self.past, |observer| self.past.plus(observer.counts())),
            observer,
        }
    }
}

/// What came up.
enum Event {
    /// Records wait.
    Records,
    /// Something is due.
    Due,
    /// The kvm that is observed is there no more.
    OtherKvm,
    /// The broker answered.
    Answer(Result<Answered, Obstacle>),
    /// The wait itself failed.
    Failed(Obstacle),
}

impl Phase {
    /// Waits for what this phase waits for. Nothing is lost where the wait is given up.
    async fn event(&mut self, broker: &Broker, link: &AsyncFd<OwnedFd>) -> Event {
        match self {
            Self::Closed(closed) => {
                sleep_until(closed.look_at).await;
                Event::Due
            }
            Self::Opening(_) => Event::Answer(broker.answer(link).await),
            Self::Observing(session) => select! {
                biased;
                answer = broker.answer(link) => Event::Answer(answer),
                event = session.event() => event,
            },
        }
    }
}
