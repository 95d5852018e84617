//! The daemon in the loop: what `serve` does with what the engine says, with signals, with questions over HTTP, and with
//! time.
//!
//! It wires the outputs together and owns nothing but that; none of them can stop the loop.

use anyhow::Result;
use probe_apic::id::{BootTime, VmId};
use tokio::{
    select,
    signal::unix::{Signal, SignalKind},
};

use super::{
    endpoint::{ScrapeRequest, Scrapes},
    exposition::Exposition,
    notify::Notifier,
    outlets::Outlets,
    shelf::Reason,
};
use crate::{
    clock,
    engine::output::Output,
    identity::VmIdentity,
    live::{self, Flow, Scene, Station, Witness},
    observer::{HostFacts, Report},
};

/// The daemon.
pub struct Daemon {
    outlets: Outlets,
    exposition: Exposition,
    notifier: Notifier,
    scrapes: Scrapes,
    /// SIGHUP: open the event log anew.
    hang_up: Signal,
    /// SIGUSR1: keep what there is of the host.
    keep: Signal,
    /// systemd was told that the daemon is up.
    ready: bool,
}

/// What came up beside the observation.
#[derive(Debug)]
pub enum Call {
    /// SIGHUP.
    Reopen,
    /// SIGUSR1.
    Keep,
    /// Somebody wants the metrics.
    Scrape(ScrapeRequest),
    /// An output has something due.
    Due,
}

impl Daemon {
    /// Takes over what has been opened. Within a runtime only.
    ///
    /// # Errors
    /// Where a signal cannot be taken over.
    pub fn new(
        outlets: Outlets,
        exposition: Exposition,
        notifier: Notifier,
        scrapes: Scrapes,
    ) -> Result<Self> {
        Ok(Self {
            outlets,
            exposition,
            notifier,
            scrapes,
            hang_up: live::catch(SignalKind::hangup())?,
            keep: live::catch(SignalKind::user_defined1())?,
            ready: false,
        })
    }

    fn next_due(&self) -> Option<BootTime> {
        [
            self.outlets.next_due(),
            self.exposition.next_due(),
            self.notifier.next_due(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whatever the state of kvm, the daemon is up once it has tried.
    fn say(&mut self, scene: &Scene<'_>) {
        let (status, now) = (status(scene), clock::now());
        if self.ready {
            self.notifier.status(&status, now);
        } else {
            self.notifier.ready(&status, now);
            self.ready = true;
        }
    }
}

/// The evidence's.
impl Witness for Daemon {
    fn opened(&mut self, facts: &HostFacts, now: BootTime) {
        self.outlets.witness().opened(facts, now);
    }

    fn reported(&mut self, report: &Report, now: BootTime) {
        self.outlets.witness().reported(report, now);
    }

    fn identified(&mut self, vm: VmId, identity: &VmIdentity, now: BootTime) {
        self.outlets.witness().identified(vm, identity, now);
    }

    fn polled(&mut self, now: BootTime, told: bool) {
        self.outlets.witness().polled(now, told);
    }

    fn unloaded(&mut self, now: BootTime) {
        self.outlets.witness().unloaded(now);
    }
}

impl Station for Daemon {
    type Call = Call;

    fn tell(&mut self, outputs: Vec<Output>, scene: &Scene<'_>) -> Result<()> {
        let news = !outputs.is_empty();
        self.outlets.tell(outputs, scene);
        if news {
            self.notifier.status(&status(scene), clock::now());
        }
        Ok(())
    }

    async fn call(&mut self) -> Call {
        let due = self.next_due();
        select! {
            biased;
            _ = self.hang_up.recv() => Call::Reopen,
            _ = self.keep.recv() => Call::Keep,
            request = self.scrapes.recv() => Call::Scrape(request),
            () = live::until(due) => Call::Due,
        }
    }

    fn take(&mut self, call: Call, scene: &Scene<'_>) -> Result<Flow> {
        let now = clock::now();
        match call {
            Call::Reopen => {
                self.notifier.reloading(now);
                self.outlets.reopen();
                self.notifier.ready(&status(scene), now);
            }
            Call::Keep => self.outlets.keep(Reason::Signal, scene),
            Call::Scrape(request) => {
                let text = self.exposition.text(scene, &self.outlets);
                request.answer(text, scene.engine.is_some());
            }
            Call::Due => {
                self.outlets.tick(scene);
                self.exposition.tick(scene, &mut self.outlets);
                self.notifier.tick(now);
            }
        }
        Ok(Flow::GoOn)
    }

    fn began(&mut self, scene: &Scene<'_>) -> Result<()> {
        self.say(scene);
        Ok(())
    }

    fn interrupted(&mut self, scene: &Scene<'_>) {
        self.outlets.forget_vms();
        self.say(scene);
    }

    fn ended(&mut self, scene: &Scene<'_>) {
        self.notifier.stopping(clock::now());
        self.outlets.finish();
        self.exposition.finish(scene, &mut self.outlets);
    }
}

/// How things stand, in a line for `systemctl status`.
fn status(scene: &Scene<'_>) -> String {
    match (scene.engine, scene.obstacle) {
        (Some(engine), _) => match engine.watched() {
            1 => "watching 1 VM".to_owned(),
            vms => format!("watching {vms} VMs"),
        },
        (None, Some(obstacle)) => format!("not observing: {obstacle}"),
        (None, None) => "starting".to_owned(),
    }
}
