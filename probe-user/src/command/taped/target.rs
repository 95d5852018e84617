//! Where a recording goes: a file of its own, or the standard output.

use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal as _},
    os::{fd::AsFd as _, unix::fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use crate::{
    clock::{self, WallClock},
    tape::TapeError,
};

/// A file of its own: nothing that holds anything is written over.
pub(super) fn create(path: Option<&Path>) -> Result<(PathBuf, File), TapeError> {
    let path = match path {
        Some(path) if path.as_os_str() == "-" => return standard_output(),
        Some(path) => path.to_owned(),
        None => PathBuf::from(format!(
            "ldrscope-{}.ldrrec",
            WallClock::read().stamp(clock::now())
        )),
    };
    match create_at(&path) {
        Ok(file) => Ok((path, file)),
        Err(source) => Err(TapeError::Create { path, source }),
    }
}

fn create_at(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(file);
    }
    // Another `record` may have begun and written nothing yet.
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    if metadata.len() > 0 {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    Ok(file)
}

fn standard_output() -> Result<(PathBuf, File), TapeError> {
    let path = PathBuf::from("standard output");
    if io::stdout().is_terminal() {
        return Err(TapeError::Terminal);
    }
    match io::stdout().as_fd().try_clone_to_owned() {
        Ok(descriptor) => Ok((path, descriptor.into())),
        Err(source) => Err(TapeError::Create { path, source }),
    }
}
