//! Where a person sits: the screen, the keys, what is logged, and the model between them.
//!
//! Whoever feeds an engine, this host's loop or a recording's, tells the desk what is new and hands its calls back to it.

use std::{future::pending, os::fd::OwnedFd, path::PathBuf, time::Duration};

use anyhow::Result;
use probe_apic::id::BootTime;
use ratatui::crossterm::event::{Event, KeyEvent};
use tokio::{
    io::unix::AsyncFd,
    select,
    signal::unix::{Signal, SignalKind},
    sync::mpsc::Receiver,
    time::{Instant, sleep_until},
};

use super::{
    error::TopError,
    keys,
    model::{Model, Request, State, place::Sight},
    screen::Theme,
    snapshot::SnapshotDirectory,
    stderr::Held,
    terminal::{self, Screen},
};
use crate::{
    clock::WallClock,
    engine::{Engine, output::Output},
    kernel::obstacle::Obstacle,
    live::{self, Flow},
    readiness::Reader,
};

/// Between two pictures of what goes on by itself; a key is answered at once.
const PACE: Duration = Duration::from_millis(100);

/// What the desk calls for.
#[derive(Debug)]
pub enum Call {
    /// A key was pressed.
    Key(KeyEvent),
    /// The picture is out of date.
    Draw,
    /// Something was logged.
    Logged,
    /// Nobody sits there any more.
    Left,
}

/// What is to be seen at a moment.
#[derive(Clone, Copy)]
pub struct Prospect<'a> {
    /// The engine; `None` while nothing is observed.
    pub engine: Option<&'a Engine>,
    /// The moment.
    pub now: BootTime,
    /// The wall clock of the host that is observed.
    pub wall: WallClock,
}

/// The desk. Its fields are in the order in which they must be given up: first the screen, then what was not to be written over it.
pub struct Desk {
    /// What is shown.
    pub model: Model,
    /// Taken over with the first picture: by then whoever runs the loop has taken the signals over that end it.
    screen: Option<Screen>,
    theme: Theme,
    held: Option<Held>,
    log: Option<AsyncFd<OwnedFd>>,
    keys: Option<Receiver<Event>>,
    snapshots: SnapshotDirectory,
    reader: Reader,
    hang_up: Signal,
    drawn_at: Instant,
    draw_at: Option<Instant>,
}

impl Desk {
    /// A desk that nothing is drawn on yet. Within a runtime only.
    ///
    /// # Errors
    /// A kernel without room for another descriptor or signal.
    pub fn new(model: Model, theme: Theme, held: Option<Held>, snapshots: SnapshotDirectory) -> Result<Self> {
        let hang_up = live::catch(SignalKind::hangup())?;
        let log = held.as_ref().map(Held::listen).transpose();
        let log = log.map_err(|source| Obstacle::internal("waiting for the log", source))?;
        let now = Instant::now();
        Ok(Self {
            model,
            screen: None,
            theme,
            held,
            log,
            keys: None,
            snapshots,
            reader: Reader::of_stdout(),
            hang_up,
            drawn_at: now,
            draw_at: Some(now),
        })
    }

    /// Takes note of what the engine has said, and of what has changed in it.
    pub fn note(&mut self, engine: Option<&Engine>, outputs: &[Output]) {
        if self.model.note(engine, outputs) {
            self.redraw();
        }
    }

    /// Says how it is going.
    pub fn turn(&mut self, state: State) {
        self.model.state = state;
        self.redraw();
    }

    /// Waits for something to be called for. Nothing is lost where the wait is given up.
    pub async fn call(&mut self) -> Call {
        let draw_at = self.draw_at;
        let due = async {
            match draw_at {
                Some(moment) => sleep_until(moment).await,
                None => pending().await,
            }
        };
        let logged = async {
            match &self.log {
                // Cleared before it is read: what comes meanwhile wakes the loop again.
                Some(log) => match log.readable().await {
                    Ok(mut ready) => ready.clear_ready(),
                    Err(_) => pending().await,
                },
                None => pending().await,
            }
        };
        select! {
            biased;
            _ = self.hang_up.recv() => Call::Left,
            () = self.reader.left() => Call::Left,
            event = pressed(&mut self.keys) => match event {
                Some(Event::Key(key)) => Call::Key(key),
                // Another size, above all.
                Some(_) => Call::Draw,
                None => Call::Left,
            },
            () = logged => Call::Logged,
            () = due => Call::Draw,
        }
    }

    /// Answers a call.
    ///
    /// # Errors
    /// A terminal that cannot be drawn on.
    pub fn take(&mut self, call: Call, prospect: Prospect<'_>) -> Result<Flow> {
        match call {
            Call::Left => return Ok(Flow::Stop),
            Call::Logged => {
                let lines = self.held.as_mut().map(Held::take).unwrap_or_default();
                if !lines.is_empty() {
                    lines.into_iter().for_each(|line| self.model.logged(line));
                    self.redraw();
                }
                return Ok(Flow::GoOn);
            }
            Call::Key(key) => match keys::action(key, self.model.is_typing) {
                None => return Ok(Flow::GoOn),
                Some(action) => match self.model.act(action, prospect.engine) {
                    Some(Request::Quit) => return Ok(Flow::Stop),
                    Some(Request::Snapshot) => self.snapshot(prospect),
                    None => {}
                },
            },
            Call::Draw => {}
        }
        self.draw(prospect)
    }

    fn draw(&mut self, prospect: Prospect<'_>) -> Result<Flow> {
        self.draw_at = None;
        self.drawn_at = Instant::now();
        self.model.refresh(prospect.engine, prospect.now, prospect.wall);
        match self.picture() {
            Ok(sight) => self.model.seen(sight),
            Err(error) if error.is_closed_terminal() => return Ok(Flow::Stop),
            Err(error) => return Err(error.into()),
        }
        Ok(Flow::GoOn)
    }

    fn picture(&mut self) -> Result<Sight, TopError> {
        let screen = match &mut self.screen {
            Some(screen) => screen,
            none => {
                let screen = none.insert(Screen::enter(self.theme)?);
                // Not before, or what is typed would be waited for by lines.
                self.keys = Some(terminal::keys()?);
                screen
            }
        };
        screen.draw(&self.model)
    }

    fn redraw(&mut self) {
        self.draw_at.get_or_insert(self.drawn_at + PACE);
    }

    fn snapshot(&mut self, prospect: Prospect<'_>) {
        let Some(engine) = prospect.engine else {
            self.model
                .say("no snapshot: nothing is observed now".to_owned(), true);
            return;
        };
        let view = engine.view(prospect.now);
        let written: Result<PathBuf, _> = self.snapshots.write(&view, prospect.wall);
        match written {
            Ok(path) => self
                .model
                .say(format!("snapshot written: {}", path.display()), false),
            Err((path, error)) => {
                let words = format!(
                    "no snapshot: {} cannot be written: {error}; see --snapshot-dir",
                    path.display()
                );
                self.model.say(words, true);
            }
        }
    }
}

async fn pressed(keys: &mut Option<Receiver<Event>>) -> Option<Event> {
    match keys {
        Some(keys) => keys.recv().await,
        None => pending().await,
    }
}
