//! `record`: observes like `watch`, and writes what the analysis is given into a file.

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
    cli::Record,
    engine::output::Output,
    exit::Exit,
    identity::filter::VmFilter,
    live::{self, Flow, LiveOptions, Scene, Station, Witness},
    privilege::{Sandbox, confine},
    readiness::Reader,
    tape::Recorder,
};

/// Runs until a signal, the given duration, or a file that cannot be written any more.
///
/// # Errors
/// An [`Obstacle`](crate::kernel::obstacle::Obstacle), a filter that matches nothing, or a
/// [`TapeError`](crate::tape::TapeError).
pub fn run(arguments: &Record) -> Result<Exit> {
    let observer = interrupts::options(&arguments.observe, arguments.interrupts);
    let broker = broker::split(&observer)?;
    // While it is still whoever was asked that may write there.
    let target = Target::create(arguments.output.as_deref())?;
    give_up_privileges(&broker, None)?;
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
        let recorder = Recorder::new(arguments.settle, filter, arguments.anonymise);
        let flags = Flags {
            anonymised: arguments.anonymise,
            interrupts: arguments.interrupts,
        };
        let reader = (!target.is_file()).then(Reader::of_stdout);
        let silent = Silent(Until::new(reader, arguments.duration)?);
        let mut taped = Taped::new(silent, Some(Tape::begin(target, flags, recorder)?));
        let lived = live::run(broker, options, &mut taped).await;
        // What was recorded until then is worth keeping, whatever ended it.
        let ended = taped.end(lived.is_ok());
        lived.and(ended)
    })?;
    Ok(Exit::Done)
}

/// Tells nothing: what is told is told again by `replay`.
struct Silent(Until);

/// Enough was recorded, or nobody is left to record for.
struct Enough;

impl Witness for Silent {}

impl Station for Silent {
    type Call = Enough;

    fn tell(&mut self, _: Vec<Output>, _: &Scene<'_>) -> Result<()> {
        Ok(())
    }

    async fn call(&mut self) -> Enough {
        self.0.over().await;
        Enough
    }

    fn take(&mut self, _: Enough, _: &Scene<'_>) -> Result<Flow> {
        Ok(Flow::Stop)
    }

    fn began(&mut self, _: &Scene<'_>) -> Result<()> {
        self.0.start_clock();
        Ok(())
    }

    fn interrupted(&mut self, _: &Scene<'_>) {
        self.0.start_clock();
    }
}
