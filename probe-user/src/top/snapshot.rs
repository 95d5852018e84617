//! Snapshots on a key: a file of its own for each, named by the moment that is shown.

use std::{
    fs::File,
    io::{self, Write as _},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, openat, unlinkat},
    io::Errno,
};

use super::error::TopError;
use crate::{clock::WallClock, engine::view::HostView, sink::snapshot_json};

/// Snapshots of one second.
const MOST: u32 = 100;

/// The directory that they go to.
#[derive(Debug)]
pub struct SnapshotDirectory {
    path: PathBuf,
    directory: OwnedFd,
}

impl SnapshotDirectory {
    /// Opens it, while it is still whoever was asked that may.
    ///
    /// # Errors
    /// [`TopError::SnapshotDirectory`].
    pub fn open(path: &Path) -> Result<Self, TopError> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        match openat(CWD, path, flags, Mode::empty()) {
            Ok(directory) => Ok(Self {
                path: path.to_owned(),
                directory,
            }),
            Err(error) => Err(TopError::SnapshotDirectory {
                path: path.to_owned(),
                source: error.into(),
            }),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the host as it is, and returns the file. Nothing that exists is written over.
    ///
    /// # Errors
    /// The file that cannot be written, and why; nothing of it is left.
    pub fn write(&self, host: &HostView<'_>, wall: WallClock) -> Result<PathBuf, (PathBuf, io::Error)> {
        let stamp = wall.stamp(host.taken_at);
        let mut name = format!("ldrscope-{stamp}.json");
        for number in 2..=MOST {
            match self.write_as(&name, host, wall) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    name = format!("ldrscope-{stamp}-{number}.json");
                }
                Err(error) => return Err((self.path.join(name), error)),
                Ok(()) => return Ok(self.path.join(name)),
            }
        }
        Err((self.path.join(name), io::ErrorKind::AlreadyExists.into()))
    }

    fn write_as(&self, name: &str, host: &HostView<'_>, wall: WallClock) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(&self.directory, name, flags, Mode::from_raw_mode(0o640))?;
        let mut file = File::from(file);
        let mut document = Vec::new();
        let written =
            snapshot_json::write(&mut document, host, wall).and_then(|()| file.write_all(&document));
        if written.is_err() {
            // Of two errors the first is the one to tell.
            let _: Result<(), Errno> = unlinkat(&self.directory, name, AtFlags::empty());
        }
        written
    }
}
