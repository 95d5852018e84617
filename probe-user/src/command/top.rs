//! `top`: what `watch` and `replay` tell, full screen.

mod live;
mod tape;

use anyhow::Result;

use crate::{
    cli::{Colour, Top},
    exit::Exit,
    sink::terminal::Style,
    top::{screen::Theme, snapshot::SnapshotDirectory, terminal},
};

/// Runs until somebody ends it, or closes the terminal.
///
/// # Errors
/// A [`TopError`](crate::top::error::TopError), and those of `watch` and `replay`.
pub fn run(arguments: &Top) -> Result<Exit> {
    terminal::check()?;
    let snapshots = SnapshotDirectory::open(&arguments.snapshot_dir)?;
    // While the terminal may still be asked.
    let theme = Theme {
        colour: match arguments.color {
            Colour::Auto => Style::of_stdout().colour,
            Colour::Always => true,
            Colour::Never => false,
        },
    };
    match &arguments.from {
        Some(file) => tape::run(arguments, file, theme, snapshots)?,
        None => live::run(arguments, theme, snapshots)?,
    }
    Ok(Exit::Done)
}
