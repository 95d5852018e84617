//! `diff --format json`: one document.

use std::io::{self, Write};

use super::json;
use crate::message::diff::Diff;

/// Writes the document and a line end.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(out: &mut dyn Write, diff: &Diff) -> io::Result<()> {
    json::write_line(out, diff)?;
    out.flush()
}
