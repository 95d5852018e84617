//! A recording on its way into a file, beside whatever a verb does with what it observes.

mod target;

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;
use probe_apic::id::{BootTime, VmId};
use recording::{Flags, Writer};
use tokio::{select, time::Instant};

use super::until::at;
use crate::{
    clock::{self, WallClock},
    engine::output::Output,
    identity::VmIdentity,
    live::{Flow, Scene, Station, Witness},
    observer::{HostFacts, Report},
    tape::{Recorder, TapeError},
};

/// What has come is in the file after this time at the latest.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// Whole frames that are not let wait for it.
const FLUSH_AT: usize = 256 << 10;

/// A file that a recording is to go into.
pub(super) struct Target {
    path: PathBuf,
    file: File,
}

impl Target {
    /// Makes the file, which must hold nothing yet: at `path`, `-` for the standard output, else named by the time.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub(super) fn create(path: Option<&Path>) -> Result<Self, TapeError> {
        let (path, file) = target::create(path)?;
        Ok(Self { path, file })
    }

    /// Whether it is a file, and no pipe that somebody reads.
    pub(super) fn is_file(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.is_file())
    }
}

/// The file and what goes into it.
pub(super) struct Tape {
    path: PathBuf,
    writer: Writer<File>,
    recorder: Recorder,
    /// When what has come is to be written; `None` while nothing has.
    flush_at: Option<Instant>,
    /// The observation began.
    begun: bool,
    /// It could not be written any more, which was said.
    failed: bool,
}

impl Tape {
    /// Begins the file.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(super) fn begin(target: Target, flags: Flags, recorder: Recorder) -> Result<Self, TapeError> {
        let Target { path, file } = target;
        let writer = match Writer::new(file, flags) {
            Ok(writer) => writer,
            Err(source) => return Err(TapeError::Write { path, source }),
        };
        Ok(Self {
            path,
            writer,
            recorder,
            flush_at: None,
            begun: false,
            failed: false,
        })
    }

    /// Sees that what has come will be written.
    fn advance(&mut self) -> Result<(), TapeError> {
        let packer = self.writer.packer();
        if packer.waiting() >= FLUSH_AT {
            self.flush()?;
        } else if !packer.is_empty() && self.flush_at.is_none() {
            self.flush_at = Some(Instant::now() + FLUSH_EVERY);
        }
        Ok(())
    }

    fn began(&mut self) {
        if !self.begun {
            log::info!("recording into {}", self.path.display());
        }
        self.begun = true;
    }

    fn flush(&mut self) -> Result<(), TapeError> {
        self.flush_at = None;
        self.writer.flush().map_err(|source| {
            self.failed = true;
            TapeError::Write {
                path: self.path.clone(),
                source,
            }
        })
    }

    /// Ends the file, and sees that it is on the disk. One in which nothing could be recorded is left empty, for the next
    /// attempt.
    fn end(self, well: bool) -> Result<()> {
        if self.failed {
            return Ok(());
        }
        let Self {
            path, writer, begun, ..
        } = self;
        if !begun && !well {
            let file = writer.get_ref();
            return file.set_len(0).or_else(|error| match error.raw_os_error() {
                Some(libc::EINVAL) => Ok(()),
                _ => Err(TapeError::Write { path, source: error }.into()),
            });
        }
        let ended = writer.finish(clock::now()).and_then(|mut file| {
            file.flush()?;
            match file.sync_all() {
                // A pipe has no disk.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(file),
                synced => synced.map(|()| file),
            }
        });
        match ended {
            Ok(file) => {
                let length = file.metadata().map_or(0, |metadata| metadata.len());
                log::info!("recorded {length} bytes into {}", path.display());
                Ok(())
            }
            Err(source) => Err(TapeError::Write { path, source }.into()),
        }
    }
}

impl Witness for Tape {
    fn opened(&mut self, facts: &HostFacts, now: BootTime) {
        self.recorder
            .opened(facts, WallClock::read(), now, self.writer.packer());
    }

    fn reported(&mut self, report: &Report, now: BootTime) {
        self.recorder.reported(report, now, self.writer.packer());
    }

    fn identified(&mut self, vm: VmId, identity: &VmIdentity, now: BootTime) {
        self.recorder.identified(vm, identity, now, self.writer.packer());
    }

    fn polled(&mut self, now: BootTime, told: bool) {
        self.recorder
            .polled(WallClock::read(), now, told, self.writer.packer());
    }

    fn unloaded(&mut self, now: BootTime) {
        self.recorder.unloaded(now, self.writer.packer());
    }
}

/// A station with a tape running beside it.
pub(super) struct Taped<S> {
    station: S,
    tape: Option<Tape>,
}

impl<S: Station> Taped<S> {
    /// With that tape, if any.
    pub(super) const fn new(station: S, tape: Option<Tape>) -> Self {
        Self { station, tape }
    }

    /// Ends the tape; `well` where the observation ended in order.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(super) fn end(self, well: bool) -> Result<()> {
        self.tape.map_or(Ok(()), |tape| tape.end(well))
    }
}

impl<S: Station> Witness for Taped<S> {
    fn opened(&mut self, facts: &HostFacts, now: BootTime) {
        if let Some(tape) = &mut self.tape {
            tape.opened(facts, now);
        }
    }

    fn reported(&mut self, report: &Report, now: BootTime) {
        if let Some(tape) = &mut self.tape {
            tape.reported(report, now);
        }
    }

    fn identified(&mut self, vm: VmId, identity: &VmIdentity, now: BootTime) {
        if let Some(tape) = &mut self.tape {
            tape.identified(vm, identity, now);
        }
    }

    fn polled(&mut self, now: BootTime, told: bool) {
        if let Some(tape) = &mut self.tape {
            tape.polled(now, told);
        }
    }

    fn unloaded(&mut self, now: BootTime) {
        if let Some(tape) = &mut self.tape {
            tape.unloaded(now);
        }
    }
}

/// What came up beside the observation.
pub(super) enum Call<C> {
    /// It is time to write.
    Flush,
    /// Something of the station's.
    Own(C),
}

impl<S: Station> Station for Taped<S> {
    type Call = Call<S::Call>;

    fn tell(&mut self, outputs: Vec<Output>, scene: &Scene<'_>) -> Result<()> {
        self.station.tell(outputs, scene)?;
        if let Some(tape) = &mut self.tape {
            tape.advance()?;
        }
        Ok(())
    }

    async fn call(&mut self) -> Self::Call {
        let flush_at = self.tape.as_ref().and_then(|tape| tape.flush_at);
        select! {
            call = self.station.call() => Call::Own(call),
            () = at(flush_at) => Call::Flush,
        }
    }

    fn take(&mut self, call: Self::Call, scene: &Scene<'_>) -> Result<Flow> {
        match (call, &mut self.tape) {
            (Call::Own(call), _) => return self.station.take(call, scene),
            (Call::Flush, Some(tape)) => tape.flush()?,
            (Call::Flush, None) => {}
        }
        Ok(Flow::GoOn)
    }

    fn began(&mut self, scene: &Scene<'_>) -> Result<()> {
        if let Some(tape) = &mut self.tape {
            tape.began();
        }
        self.station.began(scene)
    }

    fn ended(&mut self, scene: &Scene<'_>) {
        self.station.ended(scene);
    }

    fn interrupted(&mut self, scene: &Scene<'_>) {
        self.station.interrupted(scene);
    }
}
