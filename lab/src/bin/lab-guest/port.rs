//! The serial port over which a case speaks to this guest.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};

use anyhow::{Context as _, Result, ensure};
use lab::linux_guest::talk::{PORT, Reply, Request};
use rustix::termios::{OptionalActions, tcdrain, tcgetattr, tcsetattr};

/// The open port.
#[derive(Debug)]
pub(crate) struct Port {
    input: BufReader<File>,
    output: File,
}

impl Port {
    /// Opens it, raw: nothing that the case says comes back as an echo.
    pub(crate) fn open() -> Result<Self> {
        let output = OpenOptions::new()
            .read(true)
            .write(true)
            .open(PORT)
            .with_context(|| format!("cannot open {PORT}"))?;
        let mut settings = tcgetattr(&output).with_context(|| format!("{PORT} has no settings"))?;
        settings.make_raw();
        tcsetattr(&output, OptionalActions::Now, &settings)
            .with_context(|| format!("cannot make {PORT} raw"))?;
        let input = BufReader::new(output.try_clone().context("cannot duplicate the port")?);
        Ok(Self { input, output })
    }

    /// The next request, however long it takes to come.
    pub(crate) fn hear(&mut self) -> Result<Request> {
        let mut line = String::new();
        let read = self
            .input
            .read_line(&mut line)
            .context("cannot read from the port")?;
        ensure!(read > 0, "the port has ended");
        serde_json::from_str(&line).with_context(|| format!("{line:?} is no request"))
    }

    /// Says `reply`; it is out when this returns, so that no end of the kernel swallows it.
    pub(crate) fn say(&mut self, reply: &Reply) -> Result<()> {
        let line = serde_json::to_string(reply).context("cannot write the reply")?;
        writeln!(self.output, "{line}").context("cannot write to the port")?;
        tcdrain(&self.output).context("cannot drain the port")
    }
}
