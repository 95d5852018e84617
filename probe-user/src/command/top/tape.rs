//! `top` of a recording: played in its own time or another, with pauses, and kept on the screen at its end.

use std::path::Path;

use anyhow::Result;
use probe_apic::id::BootTime;
use recording::Ending;
use tokio::{
    select,
    task::yield_now,
    time::{Instant, sleep_until},
};

use crate::{
    cli::{Speed, Top},
    clock,
    command::tempo::Tempo,
    identity::filter::VmFilter,
    kernel::obstacle::Obstacle,
    live::{self, Flow},
    tape::{PlayerOptions, Replayed, Tape},
    top::{
        desk::{Desk, Prospect},
        model::{Model, Source, State},
        screen::Theme,
        snapshot::SnapshotDirectory,
        stderr::Held,
    },
};

/// Entries of a recording between two looks at the keys.
const STRIDE: u32 = 256;

pub(super) fn run(arguments: &Top, file: &Path, theme: Theme, snapshots: SnapshotDirectory) -> Result<()> {
    let options = PlayerOptions {
        settle_nanos: arguments.settle.map(clock::whole_nanos),
        filter: VmFilter::new(arguments.vm.clone()),
        as_kvm: arguments.as_kvm,
        until: arguments.at,
    };
    let tape = Tape::open(file, options)?;
    let held = Held::begin().map_err(|source| Obstacle::internal("holding the log back", source))?;
    let source = Source::Tape {
        name: file
            .file_name()
            .unwrap_or(file.as_os_str())
            .to_string_lossy()
            .into_owned(),
        speed: arguments.speed.to_string(),
    };
    live::block_on(async {
        let desk = Desk::new(Model::new(source), theme, held, snapshots)?;
        let mut projection = Projection {
            tape,
            desk,
            // Up to the moment that was asked for at once.
            pace: Pace::new(if arguments.at.is_some() {
                Speed::Max
            } else {
                arguments.speed
            }),
            speed: arguments.speed,
            failure: None,
        };
        projection.run().await
    })
}

/// A recording on the screen.
struct Projection {
    tape: Tape,
    desk: Desk,
    pace: Pace,
    speed: Speed,
    /// What ended the recording before its end; told when the screen is given back.
    failure: Option<anyhow::Error>,
}

impl Projection {
    async fn run(&mut self) -> Result<()> {
        let mut stop = live::Stop::new()?;
        self.desk.turn(State::Watching);
        loop {
            let is_played = self.desk.model.state == State::Watching;
            select! {
                biased;
                () = stop.requested() => break,
                call = self.desk.call() => {
                    if self.answer(call)? == Flow::Stop {
                        break;
                    }
                }
                () = self.pace.due(), if is_played => {
                    self.play();
                    // Or a recording that is never waited for would leave no time to anything else.
                    yield_now().await;
                }
            }
        }
        self.failure.take().map_or(Ok(()), Err)
    }

    fn answer(&mut self, call: crate::top::desk::Call) -> Result<Flow> {
        let player = self.tape.player();
        let prospect = Prospect {
            engine: player.engine(),
            now: player.now(),
            wall: player.wall(),
        };
        let flow = self.desk.take(call, prospect)?;
        self.pace.stand_still(self.desk.model.state == State::Paused);
        Ok(flow)
    }

    /// Plays what is due, and no more of it than keys can wait for.
    fn play(&mut self) {
        let mut told = Vec::new();
        for _ in 0..STRIDE {
            let replayed = self.tape.step(&mut told);
            let player = self.tape.player();
            self.desk.note(player.engine(), &told);
            told.clear();
            match replayed {
                Ok(Replayed::To(now)) if self.pace.is_ahead(now) => return,
                Ok(Replayed::To(_)) => {}
                Ok(Replayed::Until) => {
                    self.tape.go_on();
                    self.pace = Pace::new(self.speed);
                    self.pace.stand_still(true);
                    return self.desk.turn(State::Paused);
                }
                Ok(Replayed::End(ending)) => return self.end(ending),
                Err(error) => {
                    let error = anyhow::Error::from(error);
                    let words = format!("the recording cannot be read any further: {error:#}");
                    self.failure = Some(error);
                    self.desk.turn(State::Ended(words));
                    return;
                }
            }
        }
    }

    fn end(&mut self, ending: Ending) {
        let words = match ending {
            Ending::Cut { .. } => "the recording was cut here; what came later is not known".to_owned(),
            Ending::Whole => "this is the end of the recording".to_owned(),
        };
        let missing = self.tape.player().check_filter().err();
        let words = missing.as_ref().map_or(words, ToString::to_string);
        self.failure = missing.map(Into::into);
        self.desk.turn(State::Ended(words));
    }
}

/// Keeps the time, and stands still.
struct Pace {
    tempo: Tempo,
    /// When what was read last is to be shown; `None` for at once.
    due: Option<Instant>,
    /// Since when it stands still.
    still_since: Option<Instant>,
}

impl Pace {
    const fn new(speed: Speed) -> Self {
        Self {
            tempo: Tempo::new(speed),
            due: None,
            still_since: None,
        }
    }

    /// Whether what happened at `now` is to be waited for; [`Self::due`] waits.
    fn is_ahead(&mut self, now: BootTime) -> bool {
        let Some(due) = self.tempo.due(now) else {
            return false;
        };
        self.due = Some(due);
        due > Instant::now()
    }

    async fn due(&self) {
        if let Some(due) = self.due {
            sleep_until(due).await;
        }
    }

    /// Stands still, or goes on: the time in between did not pass.
    fn stand_still(&mut self, still: bool) {
        match (still, self.still_since) {
            (true, None) => self.still_since = Some(Instant::now()),
            (false, Some(since)) => {
                let pause = since.elapsed();
                self.still_since = None;
                self.due = self.due.map(|due| due + pause);
                self.tempo.put_off(pause);
            }
            _ => {}
        }
    }
}
