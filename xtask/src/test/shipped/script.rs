//! A shell script in a lab boot that holds something to its promises: it says each that is broken in a line that begins with
//! [`BROKEN`], and ends with another status than 0 then.

use std::{
    fs::{self, File},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use lab_protocol::{Userland, order::EXCHANGE};

use crate::{
    build::Binaries,
    kernels::Kernel,
    lab::{Channels, Host, Input, Session},
    paths,
};

/// How a line about a broken promise begins.
const BROKEN: &str = "BROKEN";

/// A script and where it runs.
#[derive(Debug)]
pub(super) struct Script {
    /// Its name, and but for the ending that of its log.
    pub(super) name: &'static str,
    /// The script.
    pub(super) text: &'static str,
    /// What it runs in.
    pub(super) userland: Userland,
    /// The time that it may take.
    pub(super) limit: Duration,
}

impl Script {
    /// Runs it on `kernel`, with `exchange` as its directory, and returns what it said.
    ///
    /// # Errors
    /// With every broken promise, where there is one.
    pub(super) fn run(&self, kernel: Kernel, binaries: &Binaries, exchange: &Path) -> Result<String> {
        let place = exchange.join(self.name);
        fs::write(&place, self.text).with_context(|| format!("cannot write {}", place.display()))?;
        let directory = paths::target().join("lab");
        fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let path = directory.join(self.name).with_extension("log");
        let log = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        let session = Session {
            host: Host {
                userland: self.userland,
                exchange: Some(exchange.to_owned()),
                ..Host::plain(kernel.series())
            },
            kernel,
            binaries: binaries.clone(),
            argv: vec!["sh".to_owned(), format!("{EXCHANGE}/{}", self.name)],
            directory: "/".to_owned(),
            timeout: Some(self.limit),
        };
        let channels = Channels {
            output: Box::new(log.try_clone().context("cannot duplicate the log")?),
            error: Box::new(log),
            on_case: Box::new(|_| ()),
        };
        let status = session.run(Input::Empty, channels)?;
        let said = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if status != 0 {
            let broken: Vec<_> = said.lines().filter(|line| line.starts_with(BROKEN)).collect();
            bail!(
                "{} promises are broken, all that happened is in {}:\n{}",
                broken.len(),
                path.display(),
                broken.join("\n")
            );
        }
        Ok(said)
    }
}
