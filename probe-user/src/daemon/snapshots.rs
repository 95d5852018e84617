//! Snapshots in a directory, bounded in number and size. When one is written is for others to say.
//!
//! A snapshot is there whole or not at all, and never costs an older one unless it is. The oldest of our own files go first,
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

pub use self::name::Reason;
use self::name::SnapshotName;
use crate::{clock::WallClock, engine::view::HostView, sink::snapshot_json};

/// What a writer that was killed left behind is older than this; what is younger another copy may be writing.
const ABANDONED: Duration = Duration::from_mins(1);

/// A snapshot was not written. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It would be the only one and still too large.
    #[error(
        "a snapshot of {bytes} bytes is larger than all snapshots together may be ({bound} bytes); \
         raise snapshot-max-size"
    )]
    TooLarge {
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
    #[error("the snapshot {} cannot be written: {source}", .path.display())]
    Io {
        /// The file or directory that was in work.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
}

/// A directory of snapshots.
#[derive(Debug)]
pub struct Snapshots {
    directory: PathBuf,
    keep: usize,
    max_bytes: u64,
}

/// A snapshot that is there.
#[derive(Debug)]
struct Stored {
    name: SnapshotName,
    path: PathBuf,
    bytes: u64,
}

impl Snapshots {
    /// At most `keep` snapshots (at least one) of together at most `max_bytes` in `directory`, which is made when the
    /// first one is written.
    #[must_use]
    pub fn new(directory: PathBuf, keep: usize, max_bytes: u64) -> Self {
        Self {
            directory,
            keep: keep.max(1),
            max_bytes,
        }
    }

    /// Writes the host as it is and makes room for it; returns where.
    ///
    /// # Errors
    /// [`SnapshotError`]; what was there before is still there.
    pub fn write(
        &self,
        host: &HostView<'_>,
        wall: WallClock,
        reason: Reason,
    ) -> Result<PathBuf, SnapshotError> {
        let mut document = Vec::new();
        snapshot_json::write(&mut document, host, wall).map_err(at(&self.directory))?;
        self.store(wall.stamp(host.taken_at), reason, &document)
    }

    fn store(&self, stamp: String, reason: Reason, document: &[u8]) -> Result<PathBuf, SnapshotError> {
        let bytes = u64::try_from(document.len()).unwrap_or(u64::MAX);
        if bytes > self.max_bytes {
            return Err(SnapshotError::TooLarge {
                bytes,
                bound: self.max_bytes,
            });
        }
        let stored = self.stored().map_err(at(&self.directory))?;
        let serial = match stored.last() {
            None => 1,
            Some(newest) => newest
                .name
                .serial
                .checked_add(1)
                .ok_or_else(|| SnapshotError::NoSerial {
                    path: newest.path.clone(),
                })?,
        };
        let name = SnapshotName {
            stamp,
            reason,
            serial,
        };
        let path = self.directory.join(name.to_string());
        let temporary = self.directory.join(name.temporary());
        let written = write_new(&temporary, document)
            .and_then(|()| self.make_room(&stored, bytes))
            .and_then(|()| fs::rename(&temporary, &path));
        if let Err(source) = written {
            // Of two errors the first is the one to tell.
            let _ = fs::remove_file(&temporary);
            return Err(SnapshotError::Io { path, source });
        }
        Ok(path)
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
            if let Some(name) = SnapshotName::parse(file_name) {
                stored.push(Stored {
                    name,
                    path: entry.path(),
                    bytes: metadata.len(),
                });
            } else if SnapshotName::is_temporary(file_name) && is_abandoned(&metadata) {
                fs::remove_file(entry.path())?;
            }
        }
        stored.sort_by_key(|one| one.name.serial);
        Ok(stored)
    }
}

fn write_new(path: &Path, document: &[u8]) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o640)
        .open(path)?
        .write_all(document)
}

fn is_abandoned(metadata: &fs::Metadata) -> bool {
    let age = metadata
        .modified()
        .ok()
        .and_then(|modified| modified.elapsed().ok());
    age.is_some_and(|age| age > ABANDONED)
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> SnapshotError {
    let path = path.to_owned();
    |source| SnapshotError::Io { path, source }
}
