//! What lines go to: a file that takes each whole or not at all, or a stream that takes the rest of one later.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek as _, Write as _},
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

/// An open file, FIFO or device. Writing to it never blocks.
#[derive(Debug)]
pub(super) struct Target {
    file: File,
    /// Device and inode; for whatever is no regular file, nothing could be put in its place unnoticed.
    inode: Option<(u64, u64)>,
    /// The end of a line of which a stream took only the beginning.
    rest: Vec<u8>,
    /// Whether the file ends in half a line that could not be cut off.
    torn: bool,
}

impl Target {
    /// Opens it for appending; `None` for a FIFO that nobody reads.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        let opened = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o640)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path);
        let file = match opened {
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) && is_fifo(path) => return Ok(None),
            opened => opened?,
        };
        let metadata = file.metadata()?;
        Ok(Some(Self {
            file,
            inode: metadata.is_file().then(|| (metadata.dev(), metadata.ino())),
            rest: Vec::new(),
            torn: false,
        }))
    }

    /// Whether `path` still leads here.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        self.inode.is_none_or(|inode| {
            fs::metadata(path).is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == inode)
        })
    }

    /// Whether half a line waits for its rest.
    pub(super) const fn is_behind(&self) -> bool {
        !self.rest.is_empty()
    }

    /// Writes a line whole; on an error nothing of it is there. A stream that took a part counts as having taken all:
    /// the rest goes before anything else.
    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if !self.rest.is_empty() {
            let (written, result) = push(&self.file, &self.rest);
            self.rest.drain(..written);
            result?;
        }
        if line.is_empty() {
            return Ok(());
        }
        if self.torn {
            push(&self.file, b"\n").1?;
            self.torn = false;
        }
        match push(&self.file, line) {
            (_, Ok(())) => Ok(()),
            (0, Err(error)) => Err(error),
            (written, Err(error)) if self.inode.is_some() => {
                self.torn = self.cut(written).is_err();
                Err(error)
            }
            (written, Err(_)) => {
                self.rest = line[written..].to_vec();
                Ok(())
            }
        }
    }

    /// Takes back the last `written` bytes, unless somebody else wrote behind them.
    fn cut(&mut self, written: usize) -> io::Result<()> {
        let end = self.file.stream_position()?;
        if self.file.metadata()?.len() != end {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        let written = u64::try_from(written).unwrap_or(u64::MAX);
        self.file.set_len(end.saturating_sub(written))
    }
}

/// Writes as much as fits; how much that was, and what stopped it.
fn push(mut file: &File, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

fn is_fifo(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo())
}
