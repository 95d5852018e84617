//! `top` of this host: the same loop as `watch`'s, in a process that is confined the same way.

use anyhow::Result;

use crate::{
    broker,
    cli::{DEFAULT_SETTLE, Top},
    clock::{self, WallClock},
    command::split::give_up_privileges,
    engine::output::Output,
    identity::filter::VmFilter,
    kernel::obstacle::Obstacle,
    live::{self, Flow, LiveOptions, Scene, Station, Witness},
    privilege::{Sandbox, confine},
    top::{
        desk::{Call, Desk, Prospect},
        model::{Model, Source, State},
        screen::Theme,
        snapshot::SnapshotDirectory,
        stderr::Held,
    },
};

pub(super) fn run(arguments: &Top, theme: Theme, snapshots: SnapshotDirectory) -> Result<()> {
    broker::remember_screen()
        .map_err(|source| Obstacle::internal("asking for the terminal's mode", source))?;
    // Before the split: the broker, too, may have something to log.
    let held = Held::begin().map_err(|source| Obstacle::internal("holding the log back", source))?;
    let broker = broker::split(&arguments.observe.options())?;
    give_up_privileges(&broker, None)?;
    confine(&Sandbox {
        growing: vec![snapshots.path().to_owned()],
        terminal: true,
        ..Sandbox::default()
    })?;
    let options = LiveOptions {
        settle: arguments.settle.unwrap_or(DEFAULT_SETTLE),
        filter: VmFilter::new(arguments.vm.clone()),
        wait: arguments.wait,
        must_match: !arguments.wait,
        persist: true,
    };
    live::block_on(async {
        let desk = Desk::new(Model::new(Source::Live), theme, held, snapshots)?;
        live::run(broker, options, &mut Seat { desk }).await
    })
}

/// The desk beside the loop.
struct Seat {
    desk: Desk,
}

impl Witness for Seat {}

impl Station for Seat {
    type Call = Call;

    fn tell(&mut self, outputs: Vec<Output>, scene: &Scene<'_>) -> Result<()> {
        self.desk.note(scene.engine, &outputs);
        Ok(())
    }

    async fn call(&mut self) -> Call {
        self.desk.call().await
    }

    fn take(&mut self, call: Call, scene: &Scene<'_>) -> Result<Flow> {
        self.desk.take(
            call,
            Prospect {
                engine: scene.engine,
                now: clock::now(),
                wall: WallClock::read(),
            },
        )
    }

    fn began(&mut self, _: &Scene<'_>) -> Result<()> {
        self.desk.turn(State::Watching);
        Ok(())
    }

    fn interrupted(&mut self, scene: &Scene<'_>) {
        let why = scene.obstacle.map_or_else(String::new, Obstacle::in_full);
        self.desk.note(scene.engine, &[]);
        self.desk.turn(State::Waiting(why));
    }
}
