//! A flight recorder: the last of what was observed, in memory, within a bound.
//!
//! What was packed is kept in segments. The oldest one gives way to a new one, but not what it led to: that goes into a
//! [`Checkpoint`], the state in which what is still kept begins. So what is saved can be replayed at any time, and shows the
//! host as it was then; what happened before its beginning it does not know.

mod checkpoint;

use std::{collections::VecDeque, io::Read as _, time::Duration};

use probe_apic::id::{BootTime, VmId};
use recording::{Error, Flags, Packer, Reader, end_frame, file_header};

use self::checkpoint::Checkpoint;
use super::Recorder;
use crate::{
    clock::WallClock,
    identity::{VmIdentity, filter::VmFilter},
    observer::{HostFacts, Report},
};

/// Of how many segments the memory is, at most: what is given up at once is a small part of it.
const SEGMENTS: usize = 16;

/// Takes down what the engine is given, and forgets the oldest of it.
#[derive(Debug)]
pub struct FlightRecorder {
    recorder: Recorder,
    packer: Packer,
    limit: usize,
    checkpoint: Checkpoint,
    /// Whole frames, the oldest segment first.
    segments: VecDeque<Vec<u8>>,
    /// All segments together.
    bytes: usize,
}

/// What can be saved: parts of a file, in order.
#[derive(Debug)]
pub struct Flight<'a> {
    header: [u8; recording::FILE_HEADER_LEN],
    checkpoint: Vec<u8>,
    segments: &'a VecDeque<Vec<u8>>,
    end: Vec<u8>,
}

impl Flight<'_> {
    /// The parts of the file.
    #[must_use]
    pub fn parts(&self) -> Vec<&[u8]> {
        let before = [&self.header[..], &self.checkpoint];
        let segments = self.segments.iter().map(Vec::as_slice);
        before
            .into_iter()
            .chain(segments)
            .chain([&self.end[..]])
            .collect()
    }
}

impl FlightRecorder {
    /// A recorder beside an engine with that settle time, for the VMs that `filter` lets pass, which holds at most `limit`
    /// bytes, packed.
    #[must_use]
    pub fn new(settle: Duration, filter: VmFilter, limit: usize) -> Self {
        Self {
            recorder: Recorder::new(settle, filter, false),
            packer: Packer::new(),
            limit,
            checkpoint: Checkpoint::default(),
            segments: VecDeque::new(),
            bytes: 0,
        }
    }

    /// The observation begins at `now`.
    pub fn opened(&mut self, facts: &HostFacts, wall: WallClock, now: BootTime) {
        self.recorder.opened(facts, wall, now, &mut self.packer);
    }

    /// Takes a report down.
    pub fn reported(&mut self, report: &Report, now: BootTime) {
        self.recorder.reported(report, now, &mut self.packer);
        self.keep_within();
    }

    /// Takes down who a VM is.
    pub fn identified(&mut self, vm: VmId, identity: &VmIdentity, now: BootTime) {
        self.recorder.identified(vm, identity, now, &mut self.packer);
        self.keep_within();
    }

    /// The engine was polled, and `told` something.
    pub fn polled(&mut self, wall: WallClock, now: BootTime, told: bool) {
        self.recorder.polled(wall, now, told, &mut self.packer);
        self.keep_within();
    }

    /// Kvm was unloaded.
    pub fn unloaded(&mut self, now: BootTime) {
        self.recorder.unloaded(now, &mut self.packer);
    }

    /// Bytes that it holds, packed or about to be.
    #[must_use]
    pub fn held(&self) -> usize {
        self.bytes + self.packer.waiting() + self.packer.content().len()
    }

    /// All that it holds, ended at `now`. It goes on as if nobody had asked.
    pub fn flight(&mut self, now: BootTime) -> Flight<'_> {
        self.close_segment();
        self.forget_down_to(self.limit);
        let mut end = Vec::new();
        end_frame(now, &mut end);
        Flight {
            header: file_header(Flags::default()),
            checkpoint: self.checkpoint.frames(),
            segments: &self.segments,
            end,
        }
    }

    fn keep_within(&mut self) {
        let segment = self.limit / SEGMENTS;
        if self.packer.waiting() >= segment {
            self.close_segment();
            // So that the next one has room.
            self.forget_down_to(self.limit - segment);
        }
    }

    fn close_segment(&mut self) {
        let mut segment = Vec::new();
        if let Err(error) = self.packer.take_frames(&mut segment) {
            log::error!("the flight recorder lost something: {error}");
        }
        if !segment.is_empty() {
            segment.shrink_to_fit();
            self.bytes += segment.len();
            self.segments.push_back(segment);
        }
    }

    fn forget_down_to(&mut self, bytes: usize) {
        while self.bytes > bytes {
            let Some(oldest) = self.segments.pop_front() else {
                break;
            };
            self.bytes -= oldest.len();
            if let Err(error) = self.remember(&oldest) {
                log::error!("the flight recorder cannot read what it packed itself: {error}");
            }
        }
    }

    /// What a segment led to.
    fn remember(&mut self, segment: &[u8]) -> Result<(), Error> {
        let header = file_header(Flags::default());
        let mut reader = Reader::open((&header[..]).chain(segment))?;
        while let Some((now, entry)) = reader.next_entry()? {
            self.checkpoint.take(now, entry);
        }
        Ok(())
    }
}
