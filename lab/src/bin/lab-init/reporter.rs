//! The report port: PID 1's lines to the outer machine, and the heartbeat that shows that the kernel still schedules.

use std::{
    fs::File,
    io::Write as _,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use lab_protocol::{Report, port};

use crate::ports;

/// Sends [`Report`]s; its clones share the port.
#[derive(Debug, Clone)]
pub(crate) struct Reporter {
    port: Arc<Mutex<File>>,
}

impl Reporter {
    /// Opens the port, waiting for the driver if need be.
    pub(crate) fn open() -> Result<Self> {
        let device = ports::device_of(port::REPORT)?;
        Ok(Self {
            port: Arc::new(Mutex::new(ports::open_to_write(&device)?)),
        })
    }

    /// Sends one line. Returns once QEMU has taken it: a virtio port's write waits for its buffer.
    pub(crate) fn send(&self, report: &Report) -> Result<()> {
        let mut port = self.port.lock().unwrap_or_else(PoisonError::into_inner);
        port.write_all(format!("{report}\n").as_bytes())
            .context("cannot write to the report port")
    }

    /// Reports [`Report::Alive`] every `seconds` from now on, until the lab ends.
    pub(crate) fn beat_every(&self, seconds: u64) -> Result<()> {
        let reporter = self.clone();
        thread::Builder::new()
            .name("heartbeat".to_owned())
            .spawn(move || {
                while reporter.send(&Report::Alive).is_ok() {
                    thread::sleep(Duration::from_secs(seconds));
                }
            })
            .context("cannot start the heartbeat")?;
        Ok(())
    }
}
