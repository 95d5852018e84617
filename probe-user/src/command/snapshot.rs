//! `snapshot`: looks once, judges what is, at once.

use std::io::{self, BufWriter};

use anyhow::Result;

use super::look::look;
use crate::{
    cli::{Snapshot, SnapshotFormat},
    exit::Exit,
    sink::{OutputError, snapshot_html, snapshot_json, snapshot_table, terminal::Style},
};

/// Looks, prints, ends.
///
/// # Errors
/// An [`Obstacle`](crate::kernel::obstacle::Obstacle), a filter that matches nothing, or an output that fails.
pub fn run(arguments: &Snapshot) -> Result<Exit> {
    let look = look(&arguments.place, &arguments.subject)?;
    let (view, wall) = (look.view(), look.wall);
    let mut out = BufWriter::new(io::stdout().lock());
    match arguments.format {
        SnapshotFormat::Table => snapshot_table::write(&mut out, &view, wall, Style::of_stdout()),
        SnapshotFormat::Json => snapshot_json::write(&mut out, &view, wall),
        SnapshotFormat::Html => snapshot_html::write(&mut out, &view, wall),
    }
    .map_err(OutputError)?;
    Ok(Exit::Done)
}
