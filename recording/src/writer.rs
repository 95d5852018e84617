//! Frames into a file.

use std::io::{self, Write};

use probe_apic::id::BootTime;

use crate::{
    encode::Packer,
    frame::{ANONYMISED, FILE_HEADER_LEN, MAGIC, VERSION, WITHOUT_INTERRUPTS},
};

/// What the file says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Names, ids and comms are pseudonyms.
    pub anonymised: bool,
    /// Interrupts were counted.
    pub interrupts: bool,
}

/// What a file begins with.
#[must_use]
pub fn file_header(flags: Flags) -> [u8; FILE_HEADER_LEN] {
    let mut header = [0; FILE_HEADER_LEN];
    let bits = if flags.anonymised { ANONYMISED } else { 0 };
    header[..8].copy_from_slice(&MAGIC);
    let version = if flags.interrupts {
        VERSION
    } else {
        WITHOUT_INTERRUPTS
    };
    header[8..10].copy_from_slice(&version.to_le_bytes());
    header[10..12].copy_from_slice(&bits.to_le_bytes());
    let crc = crc32fast::hash(&header[..12]);
    header[12..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// Appends the frame that ends a file to `out`.
pub fn end_frame(now: BootTime, out: &mut Vec<u8>) {
    let mut packer = Packer::new();
    packer.end(now);
    // An entry of one byte is not too long.
    let _ = packer.take_frames(out);
}

/// Writes a recording, whole frames at a time: what was written before a crash is whole but for the last of them.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    packer: Packer,
    /// Kept for its capacity.
    frames: Vec<u8>,
    written: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a recording.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn new(mut out: W, flags: Flags) -> io::Result<Self> {
        let header = file_header(flags);
        out.write_all(&header)?;
        out.flush()?;
        Ok(Self {
            out,
            packer: Packer::new(),
            frames: Vec::new(),
            written: header.len() as u64,
        })
    }

    /// What takes the entries. They stay in memory until [`Self::flush`].
    pub const fn packer(&mut self) -> &mut Packer {
        &mut self.packer
    }

    /// What is being written to.
    pub const fn get_ref(&self) -> &W {
        &self.out
    }

    /// Bytes written so far.
    #[must_use]
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// Writes all that was packed.
    ///
    /// # Errors
    /// Where it cannot be written, or an entry was too long ([`TooLong`](crate::TooLong)).
    pub fn flush(&mut self) -> io::Result<()> {
        self.frames.clear();
        let packed = self.packer.take_frames(&mut self.frames);
        self.out.write_all(&self.frames)?;
        self.out.flush()?;
        self.written += self.frames.len() as u64;
        packed.map_err(io::Error::other)
    }

    /// Ends the recording at `now`.
    ///
    /// # Errors
    /// As [`Self::flush`].
    pub fn finish(mut self, now: BootTime) -> io::Result<W> {
        self.packer.end(now);
        self.flush()?;
        Ok(self.out)
    }
}
