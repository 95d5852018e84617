//! Files of `/proc` and `/sys` as text.

use std::{fs, path::Path};

/// What a file holds, made valid UTF-8; `None` where it cannot be read.
pub(super) fn read(path: impl AsRef<Path>) -> Option<String> {
    fs::read(path)
        .ok()
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}
