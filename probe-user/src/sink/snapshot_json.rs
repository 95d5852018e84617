//! `snapshot --format json`: one document.

use std::io::{self, Write};

use super::{convert, json};
use crate::{clock::WallClock, engine::view::HostView};

/// Writes the document and a line end.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(out: &mut dyn Write, host: &HostView<'_>, wall: WallClock) -> io::Result<()> {
    json::write_line(out, &convert::snapshot(host, wall))?;
    out.flush()
}
