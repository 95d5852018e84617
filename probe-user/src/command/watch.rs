//! `watch`: observes until told to stop, and tells findings on the standard output as they come and go.

use std::{
    future::pending,
    io::{self, BufWriter},
    time::Duration,
};

use anyhow::Result;
use tokio::{
    select,
    signal::unix::{Signal, SignalKind},
    time::{Instant, sleep_until},
};

use super::split::give_up_privileges;
use crate::{
    broker,
    cli::{Watch, WatchFormat},
    clock::WallClock,
    engine::output::Output,
    exit::Exit,
    identity::filter::VmFilter,
    live::{self, Flow, LiveOptions, Scene, Station, Witness},
    privilege::{Sandbox, confine},
    readiness::Reader,
    sink::{OutputError, Sink, jsonl::JsonLines, terminal::Style, text::Text},
};

/// Runs until a signal, the given duration, or a closed pipe.
///
/// # Errors
/// An [`Obstacle`](crate::kernel::obstacle::Obstacle), a filter that matches nothing, or an output that fails.
pub fn run(arguments: &Watch) -> Result<Exit> {
    let broker = broker::split(&arguments.observe.options())?;
    give_up_privileges(&broker, None)?;
    // A confined process asks a terminal nothing.
    let style = Style::of_stdout();
    confine(&Sandbox::default())?;
    let options = LiveOptions {
        settle: arguments.settle,
        filter: VmFilter::new(arguments.vm.clone()),
        wait: arguments.wait,
        must_match: !arguments.wait,
        persist: false,
    };
    live::block_on(async {
        let mut stdout = Stdout::new(arguments.format, style, arguments.duration)?;
        live::run(broker, options, &mut stdout).await
    })?;
    Ok(Exit::Done)
}

/// The standard output and whoever reads it.
struct Stdout {
    sink: Box<dyn Sink>,
    reader: Reader,
    hang_up: Signal,
    duration: Option<Duration>,
    /// Set as the observation begins, or the wait for kvm.
    deadline: Option<Instant>,
}

impl Stdout {
    fn new(format: WatchFormat, style: Style, duration: Option<Duration>) -> Result<Self> {
        let out = BufWriter::new(io::stdout());
        Ok(Self {
            sink: match format {
                WatchFormat::Text => Box::new(Text::new(out, style)),
                WatchFormat::Jsonl => Box::new(JsonLines::new(out)),
            },
            reader: Reader::of_stdout(),
            hang_up: live::catch(SignalKind::hangup())?,
            duration,
            deadline: None,
        })
    }

    fn start_clock(&mut self) {
        if self.deadline.is_none() {
            self.deadline = self
                .duration
                .and_then(|duration| Instant::now().checked_add(duration));
        }
    }
}

/// Nobody is left to be told, or nobody wants to be told more.
struct Enough;

impl Witness for Stdout {}

impl Station for Stdout {
    type Call = Enough;

    fn tell(&mut self, outputs: Vec<Output>, _: &Scene<'_>) -> Result<()> {
        if outputs.is_empty() {
            return Ok(());
        }
        let wall = WallClock::read();
        for output in &outputs {
            self.sink.emit(output, wall).map_err(OutputError)?;
        }
        self.sink.flush().map_err(OutputError)?;
        Ok(())
    }

    async fn call(&mut self) -> Enough {
        let deadline = self.deadline;
        let expired = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => pending().await,
            }
        };
        select! {
            () = self.reader.left() => {}
            _ = self.hang_up.recv() => {}
            () = expired => {}
        }
        Enough
    }

    fn began(&mut self, _: &Scene<'_>) -> Result<()> {
        self.start_clock();
        Ok(())
    }

    fn interrupted(&mut self, _: &Scene<'_>) {
        self.start_clock();
    }

    fn take(&mut self, _: Enough, _: &Scene<'_>) -> Result<Flow> {
        Ok(Flow::Stop)
    }
}
