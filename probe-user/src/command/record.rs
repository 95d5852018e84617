//! `record`: observes like `watch`, and writes what the analysis is given into a file.

mod target;

use std::{fs::File, future::pending, io::Write as _, path::PathBuf, time::Duration};

use anyhow::Result;
use probe_apic::id::{BootTime, VmId};
use recording::{Flags, Writer};
use tokio::{
    select,
    signal::unix::{Signal, SignalKind},
    time::{Instant, sleep_until},
};

use super::split::give_up_privileges;
use crate::{
    broker,
    cli::Record,
    clock::{self, WallClock},
    engine::output::Output,
    exit::Exit,
    identity::{VmIdentity, filter::VmFilter},
    live::{self, Flow, LiveOptions, Scene, Station, Witness},
    observer::{HostFacts, Report},
    privilege::{Sandbox, confine},
    readiness::Reader,
    tape::{Recorder, TapeError},
};

/// What has come is in the file after this time at the latest.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// Whole frames that are not let wait for it.
const FLUSH_AT: usize = 256 << 10;

/// Runs until a signal, the given duration, or a file that cannot be written any more.
///
/// # Errors
/// An [`Obstacle`](crate::kernel::obstacle::Obstacle), a filter that matches nothing, or a [`TapeError`].
pub fn run(arguments: &Record) -> Result<Exit> {
    let broker = broker::split(&arguments.observe.options())?;
    // While it is still whoever was asked that may write there.
    let (path, file) = target::create(arguments.output.as_deref())?;
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
        };
        let mut tape = Tape::begin(path, file, flags, recorder, arguments.duration)?;
        let lived = live::run(broker, options, &mut tape).await;
        // What was recorded until then is worth keeping, whatever ended it.
        let ended = tape.end(lived.is_ok());
        lived.and(ended)
    })?;
    Ok(Exit::Done)
}

/// The file and what goes into it.
struct Tape {
    path: PathBuf,
    writer: Writer<File>,
    recorder: Recorder,
    /// Of a pipe.
    reader: Option<Reader>,
    hang_up: Signal,
    duration: Option<Duration>,
    /// Set as the observation begins, or the wait for kvm.
    deadline: Option<Instant>,
    /// When what has come is to be written; `None` while nothing has.
    flush_at: Option<Instant>,
    /// The observation began.
    begun: bool,
    /// It could not be written any more, which was said.
    failed: bool,
}

impl Tape {
    fn begin(
        path: PathBuf,
        file: File,
        flags: Flags,
        recorder: Recorder,
        duration: Option<Duration>,
    ) -> Result<Self> {
        let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
        let writer = match Writer::new(file, flags) {
            Ok(writer) => writer,
            Err(source) => return Err(TapeError::Write { path, source }.into()),
        };
        Ok(Self {
            path,
            writer,
            recorder,
            reader: (!is_file).then(Reader::of_stdout),
            hang_up: live::catch(SignalKind::hangup())?,
            duration,
            deadline: None,
            flush_at: None,
            begun: false,
            failed: false,
        })
    }

    fn start_clock(&mut self) {
        if self.deadline.is_none() {
            self.deadline = self
                .duration
                .and_then(|duration| Instant::now().checked_add(duration));
        }
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

/// What came up beside the observation.
enum Call {
    /// It is time to write.
    Flush,
    /// Nobody is left to record for, or enough was recorded.
    Enough,
}

impl Station for Tape {
    type Call = Call;

    /// What is told is told again by `replay`.
    fn tell(&mut self, _: Vec<Output>, _: &Scene<'_>) -> Result<()> {
        let packer = self.writer.packer();
        if packer.waiting() >= FLUSH_AT {
            self.flush()?;
        } else if !packer.is_empty() && self.flush_at.is_none() {
            self.flush_at = Some(Instant::now() + FLUSH_EVERY);
        }
        Ok(())
    }

    async fn call(&mut self) -> Call {
        let at = |moment: Option<Instant>| async move {
            match moment {
                Some(moment) => sleep_until(moment).await,
                None => pending().await,
            }
        };
        let left = async {
            match &self.reader {
                Some(reader) => reader.left().await,
                None => pending().await,
            }
        };
        select! {
            () = left => Call::Enough,
            _ = self.hang_up.recv() => Call::Enough,
            () = at(self.deadline) => Call::Enough,
            () = at(self.flush_at) => Call::Flush,
        }
    }

    fn take(&mut self, call: Call, _: &Scene<'_>) -> Result<Flow> {
        match call {
            Call::Enough => Ok(Flow::Stop),
            Call::Flush => {
                self.flush()?;
                Ok(Flow::GoOn)
            }
        }
    }

    fn began(&mut self, _: &Scene<'_>) -> Result<()> {
        if !self.begun {
            log::info!("recording into {}", self.path.display());
        }
        self.begun = true;
        self.start_clock();
        Ok(())
    }

    fn interrupted(&mut self, _: &Scene<'_>) {
        self.start_clock();
    }
}
