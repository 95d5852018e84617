//! `watch`: observes until told to stop, and tells findings on the standard output as they come and go.

use std::{
    io::{self, BufWriter},
    time::Duration,
};

use anyhow::Result;
use recording::Flags;

use super::{
    interrupts,
    split::give_up_privileges,
    taped::{Tape, Taped, Target},
    until::Until,
};
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
    tape::Recorder,
};

/// Runs until a signal, the given duration, or a closed pipe.
///
/// # Errors
/// An [`Obstacle`](crate::kernel::obstacle::Obstacle), a filter that matches nothing, or an output or a recording that cannot be written.
pub fn run(arguments: &Watch) -> Result<Exit> {
    let observer = interrupts::options(&arguments.observe, arguments.interrupts);
    let broker = broker::split(&observer)?;
    // While it is still whoever was asked that may write there.
    let target = arguments
        .record
        .as_deref()
        .map(|path| Target::create(Some(path)))
        .transpose()?;
    give_up_privileges(&broker, None)?;
    // A confined process asks a terminal nothing.
    let style = Style::of_stdout();
    confine(&Sandbox::default())?;
    let filter = VmFilter::new(arguments.vm.clone());
    let options = LiveOptions {
        settle: arguments.settle,
        filter: filter.clone(),
        wait: arguments.wait,
        must_match: !arguments.wait,
        persist: false,
    };
    live::block_on(async {
        let stdout = Stdout::new(arguments.format, style, arguments.duration)?;
        let recorder = Recorder::new(arguments.settle, filter, false);
        let flags = Flags {
            anonymised: false,
            interrupts: arguments.interrupts,
        };
        let tape = target
            .map(|target| Tape::begin(target, flags, recorder))
            .transpose()?;
        let mut taped = Taped::new(stdout, tape);
        let lived = live::run(broker, options, &mut taped).await;
        // What was recorded until then is worth keeping, whatever ended it.
        let ended = taped.end(lived.is_ok());
        lived.and(ended)
    })?;
    Ok(Exit::Done)
}

/// The standard output and whoever reads it.
struct Stdout {
    sink: Box<dyn Sink>,
    until: Until,
}

impl Stdout {
    fn new(format: WatchFormat, style: Style, duration: Option<Duration>) -> Result<Self> {
        let out = BufWriter::new(io::stdout());
        Ok(Self {
            sink: match format {
                WatchFormat::Text => Box::new(Text::new(out, style)),
                WatchFormat::Jsonl => Box::new(JsonLines::new(out)),
            },
            until: Until::new(Some(Reader::of_stdout()), duration)?,
        })
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
        self.until.over().await;
        Enough
    }

    fn began(&mut self, _: &Scene<'_>) -> Result<()> {
        self.until.start_clock();
        Ok(())
    }

    fn interrupted(&mut self, _: &Scene<'_>) {
        self.until.start_clock();
    }

    fn take(&mut self, _: Enough, _: &Scene<'_>) -> Result<Flow> {
        Ok(Flow::Stop)
    }
}
