//! Frames into a file.

use std::io::{self, Write};

use probe_apic::id::BootTime;

use crate::{
    encode::Packer,
    frame::{ANONYMISED, FILE_HEADER_LEN, MAGIC, VERSION},
};

/// Content after which a frame is made, whatever the time: long enough to pack well, short enough to lose.
const FRAME_CONTENT: usize = 64 << 10;

/// What the file says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Names, ids and comms are pseudonyms.
    pub anonymised: bool,
}

/// What a file begins with.
#[must_use]
pub fn file_header(flags: Flags) -> [u8; FILE_HEADER_LEN] {
    let mut header = [0; FILE_HEADER_LEN];
    let bits = if flags.anonymised { ANONYMISED } else { 0 };
    header[..8].copy_from_slice(&MAGIC);
    header[8..10].copy_from_slice(&VERSION.to_le_bytes());
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
    let _ = packer.pack_into(out);
}

/// Writes a recording, a frame at a time: each with one call, so that what was written before a crash is whole frames but
/// for the last.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    packer: Packer,
    /// Kept for its capacity.
    frame: Vec<u8>,
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
            frame: Vec::new(),
            written: header.len() as u64,
        })
    }

    /// What takes the entries.
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

    /// Writes a frame if there is enough for one.
    ///
    /// # Errors
    /// As [`Self::flush`].
    pub fn flush_full(&mut self) -> io::Result<()> {
        if self.packer.len() < FRAME_CONTENT {
            return Ok(());
        }
        self.flush()
    }

    /// Writes a frame of all that there is.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.frame.clear();
        self.packer.pack_into(&mut self.frame).map_err(io::Error::other)?;
        self.out.write_all(&self.frame)?;
        self.out.flush()?;
        self.written += self.frame.len() as u64;
        Ok(())
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
