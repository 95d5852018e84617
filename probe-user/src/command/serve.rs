//! `serve`: the daemon. So far it only judges its settings.

use std::io::{self, Write as _};

use anyhow::{Result, bail};
use log::LevelFilter;

use crate::{
    cli::Serve,
    daemon::config::{Settings, Surroundings},
    escape::escape_line,
    exit::Exit,
    sink::OutputError,
};

/// Judges the settings, and serves.
///
/// # Errors
/// A [`crate::daemon::config::ConfigError`], or an output that fails.
pub fn run(arguments: &Serve) -> Result<Exit> {
    let settings = Settings::load(arguments, &Surroundings::read())?;
    if arguments.check_config {
        tell(&settings).map_err(OutputError)?;
        return Ok(Exit::Done);
    }
    bail!("there is nothing to serve yet")
}

/// `FILE: ok`, and with `-v` what it comes to.
fn tell(settings: &Settings) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match &settings.file {
        Some(file) => writeln!(out, "{}: ok", escape_line(&file.display().to_string()))?,
        None => writeln!(out, "no configuration file; flags and defaults: ok")?,
    }
    if log::max_level() > LevelFilter::Info {
        for line in settings.to_string().lines() {
            writeln!(out, "{}", escape_line(line))?;
        }
    }
    out.flush()
}
