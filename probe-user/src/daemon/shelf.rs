//! Files of one kind in a directory, bounded in number and size. What is in them, and when one is written, is for others to say.
//!
//! A file is there whole or not at all, and never costs an older one unless it is. The oldest of our own files go first,
//! by the serial number in their names, so that a wall clock that was set back confuses nobody; what else is in the
//! directory is never touched.

mod name;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use self::name::Name;
pub use self::name::{Kind, Reason};

/// What a writer that was killed left behind is older than this; what is younger another copy may be writing.
const ABANDONED: Duration = Duration::from_mins(1);

/// A file was not written. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// It would be the only one and still too large.
    #[error(
        "a {kind} of {bytes} bytes is larger than all {kind}s together may be ({bound} bytes); \
         raise {kind}-max-size"
    )]
    TooLarge {
        /// Of what.
        kind: Kind,
        /// Its size.
        bytes: u64,
        /// The bound.
        bound: u64,
    },
    /// A file has the highest serial number there is.
    #[error("there is no serial number after that of {}; remove it", .path.display())]
    NoSerial {
        /// That file.
        path: PathBuf,
    },
    /// The disk is full, the directory may not be written, or the like.
    #[error("the {kind} {} cannot be written: {source}", .path.display())]
    Io {
        /// Of what.
        kind: Kind,
        /// The file or directory that was in work.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
}

/// A directory of files of one kind.
#[derive(Debug)]
pub struct Shelf {
    kind: Kind,
    directory: PathBuf,
    keep: usize,
    max_bytes: u64,
}

/// A file that is there.
#[derive(Debug)]
struct Stored {
    name: Name,
    path: PathBuf,
    bytes: u64,
}

impl Shelf {
    /// At most `keep` files (at least one) of together at most `max_bytes` in `directory`, which is made when the
    /// first one is written.
    #[must_use]
    pub fn new(kind: Kind, directory: PathBuf, keep: usize, max_bytes: u64) -> Self {
        Self {
            kind,
            directory,
            keep: keep.max(1),
            max_bytes,
        }
    }

    /// Writes a file of these `parts`, taken at `stamp`, and makes room for it; returns where.
    ///
    /// # Errors
    /// [`ShelfError`]; what was there before is still there.
    pub fn store(&self, stamp: String, reason: Reason, parts: &[&[u8]]) -> Result<PathBuf, ShelfError> {
        let kind = self.kind;
        let bytes = parts.iter().map(|part| part.len() as u64).sum();
        if bytes > self.max_bytes {
            return Err(ShelfError::TooLarge {
                kind,
                bytes,
                bound: self.max_bytes,
            });
        }
        let stored = self.stored().map_err(|source| self.refused(source))?;
        let serial = match stored.last() {
            None => 1,
            Some(newest) => newest
                .name
                .serial
                .checked_add(1)
                .ok_or_else(|| ShelfError::NoSerial {
                    path: newest.path.clone(),
                })?,
        };
        let name = Name {
            kind,
            stamp,
            reason,
            serial,
        };
        let path = self.directory.join(name.to_string());
        let temporary = self.directory.join(name.temporary());
        let written = write_new(&temporary, parts)
            .and_then(|()| self.make_room(&stored, bytes))
            .and_then(|()| fs::rename(&temporary, &path));
        if let Err(source) = written {
            // Of two errors the first is the one to tell.
            let _ = fs::remove_file(&temporary);
            return Err(ShelfError::Io { kind, path, source });
        }
        Ok(path)
    }

    /// There can be no file, whatever its name would be.
    #[must_use]
    pub fn refused(&self, source: io::Error) -> ShelfError {
        ShelfError::Io {
            kind: self.kind,
            path: self.directory.clone(),
            source,
        }
    }

    /// Removes the oldest until one of `bytes` fits.
    fn make_room(&self, stored: &[Stored], bytes: u64) -> io::Result<()> {
        let mut count = stored.len();
        let mut total = stored
            .iter()
            .fold(bytes, |sum, one| sum.saturating_add(one.bytes));
        for oldest in stored {
            if count < self.keep && total <= self.max_bytes {
                break;
            }
            match fs::remove_file(&oldest.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            count -= 1;
            total -= oldest.bytes;
        }
        Ok(())
    }

    /// Ours, oldest first. Makes the directory, and clears away what a killed writer left.
    fn stored(&self) -> io::Result<Vec<Stored>> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(&self.directory)?;
        let mut stored = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let file_name = entry.file_name();
            let Some(file_name) = file_name.to_str() else {
                continue;
            };
            // Gone meanwhile, or a link that somebody made: not one of ours.
            let Some(metadata) = entry.metadata().ok().filter(fs::Metadata::is_file) else {
                continue;
            };
            if let Some(name) = Name::parse(self.kind, file_name) {
                stored.push(Stored {
                    name,
                    path: entry.path(),
                    bytes: metadata.len(),
                });
            } else if Name::is_temporary(self.kind, file_name) && is_abandoned(&metadata) {
                fs::remove_file(entry.path())?;
            }
        }
        stored.sort_by_key(|one| one.name.serial);
        Ok(stored)
    }
}

fn write_new(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o640)
        .open(path)?;
    parts.iter().try_for_each(|part| file.write_all(part))
}

fn is_abandoned(metadata: &fs::Metadata) -> bool {
    let age = metadata
        .modified()
        .ok()
        .and_then(|modified| modified.elapsed().ok());
    age.is_some_and(|age| age > ABANDONED)
}
