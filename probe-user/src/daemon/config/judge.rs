//! Whether the settings can work on this machine: files and directories, without making or opening any for writing.
//!
//! What may be written is judged for the user that this process is; `user` may be allowed less.

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::Path,
};

use rustix::{
    fs::{Access, AtFlags, CWD, accessat},
    io::Errno,
};

use super::{
    Settings,
    error::{ConfigError, Place},
    file::Source,
};
use crate::cli::Options;

const WRITABLE: &str = "name another place, or let the user that ldrscope runs as write there";

pub(super) fn judge(settings: &Settings, flags: &Options, source: &Source) -> Result<(), ConfigError> {
    let textfile = source.place("textfile", flags.textfile.is_some());
    let event_log = source.place("event-log", flags.event_log.is_some());
    let snapshot_dir = source.place("snapshot-dir", flags.snapshot_dir.is_some());
    let btf = source.place("btf", flags.btf.is_some());
    if let Some(path) = &settings.textfile {
        file_to_replace(path, &textfile)?;
    }
    if let Some(path) = &settings.event_log {
        if settings.textfile.as_ref() == Some(path) {
            return Err(ConfigError::new(
                event_log,
                format!("{} is the textfile, too", path.display()),
                "give each a file of its own",
            ));
        }
        file_to_append(path, &event_log)?;
    }
    if let Some(path) = &settings.snapshot_dir {
        directory(path, &snapshot_dir)?;
    }
    if let Some(path) = &settings.recording_dir {
        directory(
            path,
            &source.place("recording-dir", flags.recording_dir.is_some()),
        )?;
        room_for_recordings(settings, flags, source)?;
    }
    if let Some(path) = &settings.observer.btf {
        readable(path, &btf)?;
    }
    for (key, by_flag, value) in [
        ("user", flags.user.is_some(), &settings.user),
        ("vm", flags.vm.is_some(), &settings.vm),
    ] {
        if value.as_ref().is_some_and(String::is_empty) {
            let place = source.place(key, by_flag);
            return Err(ConfigError::new(
                place,
                "an empty name",
                "write a name, or leave it out",
            ));
        }
    }
    Ok(())
}

/// A file holds what memory held, and the state in which that begins.
fn room_for_recordings(settings: &Settings, flags: &Options, source: &Source) -> Result<(), ConfigError> {
    let (memory, bound) = (settings.recording_memory, settings.recording_max_size);
    if memory <= bound / 2 {
        return Ok(());
    }
    // Whichever was set is to blame.
    let of_memory = source.place("recording-memory", flags.recording_memory.is_some());
    let of_bound = source.place("recording-max-size", flags.recording_max_size.is_some());
    let place = match &of_memory {
        Place::Default(_) => of_bound,
        _ => of_memory,
    };
    Err(ConfigError::new(
        place,
        format!("recordings of {memory} bytes of memory do not fit well into {bound} bytes"),
        "make recording-max-size at least twice recording-memory",
    ))
}

/// Makes a directory and those above it.
pub(super) fn make((key, directory): (&'static str, &Path)) -> Result<(), ConfigError> {
    let made = DirBuilder::new().recursive(true).mode(0o750).create(directory);
    made.map_err(|error| {
        let what = format!("the directory {} cannot be made: {error}", directory.display());
        ConfigError::new(Place::Default(key), what, WRITABLE)
    })
}

/// The directory that a file is in.
pub(super) fn parent(file: &Path) -> &Path {
    file.parent()
        .filter(|parent| *parent != OsStr::new(""))
        .unwrap_or(Path::new("."))
}

/// A file that another one is renamed over.
fn file_to_replace(path: &Path, place: &Place) -> Result<(), ConfigError> {
    no_directory(path, place)?;
    directory(parent(path), place)
}

/// A file that is written as it is, where it exists.
fn file_to_append(path: &Path, place: &Place) -> Result<(), ConfigError> {
    no_directory(path, place)?;
    match access(path, Access::WRITE_OK) {
        Ok(()) => Ok(()),
        Err(Errno::NOENT) => directory(parent(path), place),
        Err(error) => Err(not_writable(path, place, error)),
    }
}

fn no_directory(path: &Path, place: &Place) -> Result<(), ConfigError> {
    if path.file_name().is_some() && !path.is_dir() {
        return Ok(());
    }
    Err(ConfigError::new(
        place.clone(),
        format!("`{}` is not the name of a file", path.display()),
        "name a file in that directory",
    ))
}

/// A directory that exists and may be written, or may be made.
fn directory(path: &Path, place: &Place) -> Result<(), ConfigError> {
    let existing = path.ancestors().find_map(|ancestor| {
        let ancestor = if ancestor == OsStr::new("") {
            Path::new(".")
        } else {
            ancestor
        };
        match fs::metadata(ancestor) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            found => Some((ancestor, found)),
        }
    });
    let refused = |at: &Path, why: &dyn std::fmt::Display| {
        ConfigError::new(
            place.clone(),
            format!(
                "the directory {} cannot be used: {}: {why}",
                path.display(),
                at.display()
            ),
            WRITABLE,
        )
    };
    match existing {
        Some((at, Ok(metadata))) if metadata.is_dir() => {
            access(at, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| refused(at, &error))
        }
        Some((at, Ok(_))) => Err(refused(at, &"not a directory")),
        Some((at, Err(error))) => Err(refused(at, &error)),
        None => Err(refused(path, &"nothing above it exists")),
    }
}

fn readable(path: &Path, place: &Place) -> Result<(), ConfigError> {
    access(path, Access::READ_OK).map_err(|error| {
        ConfigError::new(
            place.clone(),
            format!("{} cannot be read: {error}", path.display()),
            "name a file that can be read",
        )
    })
}

fn not_writable(path: &Path, place: &Place, error: Errno) -> ConfigError {
    let what = format!("{} cannot be written: {error}", path.display());
    ConfigError::new(place.clone(), what, WRITABLE)
}

fn access(path: &Path, access: Access) -> Result<(), Errno> {
    accessat(CWD, path, access, AtFlags::EACCESS)
}
