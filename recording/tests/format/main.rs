//! Holds the format to its promises: what was written comes back, a cut loses no whole frame, a changed byte is found, and
//! no bytes at all can do harm.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod damage;
mod pseudonyms;
mod round_trip;
mod strategy;

use probe_apic::id::BootTime;
use recording::{Ending, Entry, Error, Flags, Packer, Reader, Writer};

type Story = Vec<(BootTime, Entry)>;

fn pack(packer: &mut Packer, now: BootTime, entry: &Entry) {
    match entry {
        Entry::Host(host) => packer.host(now, host),
        Entry::Clock(offset) => packer.clock(now, *offset),
        Entry::Observed(observation) => packer.observed(now, observation),
        Entry::Identified(vm, identity) => packer.identified(now, *vm, identity),
        Entry::Dropped(records) => packer.dropped(now, *records),
        Entry::Uncounted(interrupts) => packer.uncounted(now, *interrupts),
        Entry::Polled => packer.polled(now),
        Entry::Unloaded => packer.unloaded(now),
        Entry::End => panic!("the end is not packed by hand"),
    }
}

/// A whole recording, with a frame after every `frame` entries.
fn record(story: &[(BootTime, Entry)], frame: usize) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), Flags::default()).unwrap();
    for chunk in story.chunks(frame) {
        for (now, entry) in chunk {
            pack(writer.packer(), *now, entry);
        }
        writer.flush().unwrap();
    }
    let end = story.last().map_or(BootTime(0), |(now, _)| *now);
    writer.finish(end).unwrap()
}

/// All that can be read, and how it ends.
fn replay(bytes: &[u8]) -> (Story, Result<Ending, Error>) {
    let mut story = Vec::new();
    let mut reader = match Reader::open(bytes) {
        Ok(reader) => reader,
        Err(error) => return (story, Err(error)),
    };
    loop {
        match reader.next_entry() {
            Ok(Some(entry)) => story.push(entry),
            Ok(None) => return (story, Ok(reader.ending().unwrap())),
            Err(error) => return (story, Err(error)),
        }
    }
}
