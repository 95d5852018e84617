//! The metrics as a file, for node_exporter's textfile collector: a host that already has a scraped port needs no other.
//!
//! The file is replaced whole, by a rename, so that no reader sees half of it. It outlives the daemon on purpose: the
//! last one to be written says `ldrscope_up 0`, where a file that vanished or stood still would say nothing, or lie.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// Everybody may read it: node_exporter runs as a user of its own.
const MODE: u32 = 0o644;

/// A file that holds the metrics.
#[derive(Clone, Debug)]
pub struct Textfile {
    path: PathBuf,
    temporary: PathBuf,
}

/// Why the metrics could not be written to their file. The file is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum TextfileError {
    /// The path is that of no file.
    #[error("{} names no file", .0.display())]
    NoName(PathBuf),
    /// The text could not be written beside it.
    #[error("the metrics cannot be written to {}", .path.display())]
    Write {
        /// The temporary file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The text could not take the file's place.
    #[error("{} cannot be replaced", .path.display())]
    Replace {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Textfile {
    /// The file at `path`; nothing is written yet.
    ///
    /// # Errors
    /// Where the path names no file.
    pub fn new(path: PathBuf) -> Result<Self, TextfileError> {
        let Some(name) = path.file_name() else {
            return Err(TextfileError::NoName(path));
        };
        let temporary = path.with_file_name(temporary_name(name));
        Ok(Self { path, temporary })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces what it holds by `text`, which is [`super::metrics::render_textfile`]'s.
    ///
    /// # Errors
    /// Where the directory is missing, full or not to be written. The file is as it was, and nothing is left beside it.
    pub fn write(&self, text: &str) -> Result<(), TextfileError> {
        let written = self.put(text);
        if written.is_err() {
            // It may never have been made.
            let _ = fs::remove_file(&self.temporary);
        }
        written
    }

    fn put(&self, text: &str) -> Result<(), TextfileError> {
        self.write_beside(text).map_err(|source| TextfileError::Write {
            path: self.temporary.clone(),
            source,
        })?;
        fs::rename(&self.temporary, &self.path).map_err(|source| TextfileError::Replace {
            path: self.path.clone(),
            source,
        })
    }

    fn write_beside(&self, text: &str) -> io::Result<()> {
        let mut file = self.create()?;
        // Whatever the umask says.
        file.set_permissions(Permissions::from_mode(MODE))?;
        file.write_all(text.as_bytes())
    }

    /// What a killed copy left is replaced, never written through: it may be somebody's link.
    fn create(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(MODE);
        match options.open(&self.temporary) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(&self.temporary)?;
                options.open(&self.temporary)
            }
            opened => opened,
        }
    }
}

/// Hidden, and with an ending that the collector does not read.
fn temporary_name(name: &OsStr) -> OsString {
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(".tmp");
    temporary
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("ldrscope-textfile-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn it_is_replaced_whole_and_everybody_may_read_it() {
        let directory = directory("replaced");
        let textfile = Textfile::new(directory.join("ldrscope.prom")).unwrap();
        textfile.write("a long first text\n").unwrap();
        textfile.write("b\n").unwrap();
        assert_eq!(fs::read_to_string(textfile.path()).unwrap(), "b\n");
        assert_eq!(
            fs::metadata(textfile.path()).unwrap().permissions().mode() & 0o777,
            0o644
        );
        assert_eq!(names(&directory), ["ldrscope.prom"]);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_file_left_by_a_killed_copy_is_replaced_and_a_link_is_not_followed() {
        let directory = directory("left");
        let victim = directory.join("victim");
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, directory.join(".ldrscope.prom.tmp")).unwrap();
        let textfile = Textfile::new(directory.join("ldrscope.prom")).unwrap();
        textfile.write("x\n").unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(names(&directory), ["ldrscope.prom", "victim"]);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn what_cannot_be_written_is_an_error_and_leaves_nothing_behind() {
        let directory = directory("failing");
        let missing = Textfile::new(directory.join("no/such/ldrscope.prom")).unwrap();
        assert!(matches!(missing.write("x"), Err(TextfileError::Write { .. })));

        // A directory in its place cannot be replaced by a file.
        fs::create_dir(directory.join("taken.prom")).unwrap();
        let taken = Textfile::new(directory.join("taken.prom")).unwrap();
        assert!(matches!(taken.write("x"), Err(TextfileError::Replace { .. })));
        assert_eq!(names(&directory), ["taken.prom"]);

        assert!(matches!(
            Textfile::new(PathBuf::from("/")),
            Err(TextfileError::NoName(_))
        ));
        fs::remove_dir_all(directory).unwrap();
    }
}
