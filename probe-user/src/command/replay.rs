//! `replay`: gives a recording to the same analysis, and tells what it says as `watch` does.

use std::io::{self, BufWriter};

use anyhow::Result;
use recording::Ending;
use tokio::{
    select,
    task::yield_now,
    time::{Instant, sleep_until},
};

use super::tempo::Tempo;
use crate::{
    cli::{Replay, Speed, WatchFormat},
    clock,
    exit::Exit,
    identity::filter::VmFilter,
    live,
    sink::{OutputError, Sink, jsonl::JsonLines, terminal::Style, text::Text},
    tape::{PlayerOptions, Replayed, Tape},
};

/// Entries between two looks whether somebody said stop.
const STRIDE: u32 = 1024;

/// Plays a recording to its end, or until a signal or a closed pipe.
///
/// # Errors
/// A [`TapeError`](crate::tape::TapeError), a filter that matches nothing, or an output that fails.
pub fn run(arguments: &Replay) -> Result<Exit> {
    let options = PlayerOptions {
        settle_nanos: arguments.settle.map(clock::whole_nanos),
        filter: VmFilter::new(arguments.vm.clone()),
        as_kvm: arguments.as_kvm,
        until: None,
    };
    let mut tape = Tape::open(&arguments.file, options)?;
    let out = BufWriter::new(io::stdout());
    let mut sink: Box<dyn Sink> = match arguments.format {
        WatchFormat::Text => Box::new(Text::new(out, Style::of_stdout())),
        WatchFormat::Jsonl => Box::new(JsonLines::new(out)),
    };
    live::block_on(async {
        let mut stop = live::Stop::new()?;
        select! {
            biased;
            () = stop.requested() => Ok(()),
            played = play(&mut tape, arguments.speed, sink.as_mut()) => played,
        }
    })?;
    sink.flush().map_err(OutputError)?;
    Ok(Exit::Done)
}

async fn play(tape: &mut Tape, speed: Speed, sink: &mut dyn Sink) -> Result<()> {
    let mut tempo = Tempo::new(speed);
    let mut told = Vec::new();
    let mut steps = 0_u32;
    loop {
        let replayed = tape.step(&mut told);
        let wall = tape.player().wall();
        if let Ok(Replayed::To(now)) = replayed {
            // What was told before is shown meanwhile.
            if let Some(due) = tempo.due(now).filter(|due| *due > Instant::now()) {
                sink.flush().map_err(OutputError)?;
                sleep_until(due).await;
            }
        }
        for output in told.drain(..) {
            sink.emit(&output, wall).map_err(OutputError)?;
        }
        match replayed? {
            Replayed::To(_) | Replayed::Until => {}
            Replayed::End(ending) => {
                sink.flush().map_err(OutputError)?;
                if let Ending::Cut { whole_until } = ending {
                    tape.warn_of_cut(whole_until);
                }
                return Ok(tape.player().check_filter()?);
            }
        }
        steps = steps.wrapping_add(1);
        if steps.is_multiple_of(STRIDE) {
            yield_now().await;
        }
    }
}
