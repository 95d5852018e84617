//! A recording, entry by entry.

use std::io::{self, Read};

use probe_apic::id::BootTime;

use crate::{
    decode,
    entry::Entry,
    frame::{ANONYMISED, FILE_HEADER_LEN, FRAME_HEADER_LEN, FrameHeader, MAGIC, VERSION, WITHOUT_INTERRUPTS},
    wire::{Cursor, Malformed},
    writer::Flags,
};

/// Why a recording cannot be read, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is something else.
    #[error("this is no recording of ldrscope's")]
    NotARecording,
    /// It was made by a later ldrscope.
    #[error(
        "this recording is of version {version} of the format, and this ldrscope reads up to version {VERSION}"
    )]
    OtherVersion {
        /// Which.
        version: u16,
    },
    /// Bytes are not what they were when they were written.
    #[error("the recording is damaged {place}: {what}")]
    Damaged {
        /// Where.
        place: Place,
        /// What is wrong there.
        what: &'static str,
    },
    /// The file itself cannot be read.
    #[error("the recording cannot be read at byte {offset}")]
    Read {
        /// How far it could.
        offset: u64,
        /// Why.
        source: io::Error,
    },
}

/// A range of bytes of a file, of which the first counts and the last does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The first.
    pub from: u64,
    /// The one after the last.
    pub to: u64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "in bytes {} to {}", self.from, self.to.saturating_sub(1))
    }
}

/// How a recording ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As it should.
    Whole,
    /// It was cut, or its writer was: what came before this byte is whole.
    Cut {
        /// The end of the last whole frame.
        whole_until: u64,
    },
}

/// Takes a recording apart. What is read stays within a frame, however long the recording.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    flags: Flags,
    /// Where the present frame begins, and the next one.
    frame_at: u64,
    next_at: u64,
    payload: Vec<u8>,
    content: Vec<u8>,
    /// How much of the content was read.
    read: usize,
    now: BootTime,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// The end mark was read, and nothing may follow.
    Marked,
    Done(Ending),
}

impl<R: Read> Reader<R> {
    /// Opens a recording.
    ///
    /// # Errors
    /// [`Error::NotARecording`], [`Error::OtherVersion`], and those of a file.
    pub fn open(mut input: R) -> Result<Self, Error> {
        let mut header = [0; FILE_HEADER_LEN];
        let length = fill(&mut input, &mut header, 0)?;
        let begun = &header[..length];
        if length == 0 || !begun.starts_with(&MAGIC[..length.min(MAGIC.len())]) {
            return Err(Error::NotARecording);
        }
        let mut reader = Self {
            input,
            flags: Flags::default(),
            frame_at: 0,
            next_at: length as u64,
            payload: Vec::new(),
            content: Vec::new(),
            read: 0,
            now: BootTime::default(),
            state: State::Open,
        };
        if length < FILE_HEADER_LEN {
            reader.state = State::Done(Ending::Cut { whole_until: 0 });
            return Ok(reader);
        }
        let [.., v0, v1, f0, f1, c0, c1, c2, c3] = header;
        if crc32fast::hash(&header[..12]) != u32::from_le_bytes([c0, c1, c2, c3]) {
            return Err(reader.damaged("its header does not match its checksum"));
        }
        let version = u16::from_le_bytes([v0, v1]);
        if !(WITHOUT_INTERRUPTS..=VERSION).contains(&version) {
            return Err(Error::OtherVersion { version });
        }
        reader.flags = Flags {
            anonymised: u16::from_le_bytes([f0, f1]) & ANONYMISED != 0,
            interrupts: version > WITHOUT_INTERRUPTS,
        };
        Ok(reader)
    }

    /// What the file says of itself.
    #[must_use]
    pub const fn flags(&self) -> Flags {
        self.flags
    }

    /// How the recording ends; `None` while that has not been reached.
    #[must_use]
    pub const fn ending(&self) -> Option<Ending> {
        match self.state {
            State::Done(ending) => Some(ending),
            State::Open | State::Marked => None,
        }
    }

    /// The next entry and when it was taken in; `None` at the end, of which [`Self::ending`] tells more.
    ///
    /// # Errors
    /// [`Error::Damaged`], and those of a file. There is nothing after it.
    pub fn next_entry(&mut self) -> Result<Option<(BootTime, Entry)>, Error> {
        loop {
            if self.read < self.content.len() {
                let mut cursor = Cursor::new(&self.content[self.read..]);
                let mut now = self.now;
                let entry = decode::next(&mut cursor, &mut now);
                self.now = now;
                self.read = self.content.len() - cursor.left();
                match entry {
                    Ok(Some(Entry::End)) => self.state = State::Marked,
                    Ok(Some(_)) if self.state == State::Marked => {
                        return Err(self.damaged("something follows its end"));
                    }
                    Ok(Some(entry)) => return Ok(Some((self.now, entry))),
                    Ok(None) => {}
                    Err(Malformed(what)) => return Err(self.damaged(what)),
                }
            } else if !self.next_frame()? {
                return Ok(None);
            }
        }
    }

    /// Unpacks the next frame; false where there is none.
    fn next_frame(&mut self) -> Result<bool, Error> {
        if let State::Done(_) = self.state {
            return Ok(false);
        }
        let mut bytes = [0; FRAME_HEADER_LEN];
        let cut = Ending::Cut {
            whole_until: self.next_at,
        };
        self.frame_at = self.next_at;
        let length = fill(&mut self.input, &mut bytes, self.frame_at)?;
        self.next_at = self.frame_at + length as u64;
        match (length, self.state) {
            (0, State::Marked) => {
                self.state = State::Done(Ending::Whole);
                return Ok(false);
            }
            (_, State::Marked) => return Err(self.damaged("something follows its end")),
            (FRAME_HEADER_LEN, _) => {}
            _ => {
                self.state = State::Done(cut);
                return Ok(false);
            }
        }
        let Some(header) = FrameHeader::read(&bytes) else {
            return Err(self.damaged("the header of a frame does not match its checksum"));
        };
        self.payload.resize(header.payload_len, 0);
        let length = fill(&mut self.input, &mut self.payload, self.next_at)?;
        self.next_at += length as u64;
        if length < header.payload_len {
            self.state = State::Done(cut);
            return Ok(false);
        }
        if !header.unpack(&self.payload, &mut self.content) {
            self.content.clear();
            return Err(self.damaged("a frame does not match its checksum"));
        }
        (self.read, self.now) = (0, BootTime(header.base));
        Ok(true)
    }

    fn damaged(&mut self, what: &'static str) -> Error {
        self.content.clear();
        self.state = State::Done(Ending::Cut {
            whole_until: self.frame_at,
        });
        Error::Damaged {
            place: Place {
                from: self.frame_at,
                to: self.next_at,
            },
            what,
        }
    }
}

/// Reads until `buffer` is full or the input ends; how much that was.
fn fill(input: &mut impl Read, buffer: &mut [u8], offset: u64) -> Result<usize, Error> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => {
                return Err(Error::Read {
                    offset: offset + filled as u64,
                    source,
                });
            }
        }
    }
    Ok(filled)
}
