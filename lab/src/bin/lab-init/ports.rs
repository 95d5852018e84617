//! Finds the lab's virtio-serial ports by name and opens the command's three streams.
//!
//! The port names are [`lab_protocol::port`]'s; what flows over the report port is [`crate::reporter`]'s.

use std::{
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use lab_protocol::{Terminal, port};
use rustix::termios::{Winsize, tcsetwinsize};

const PORTS: &str = "/sys/class/virtio-ports";

/// Port names are told by control messages after the driver has bound; this is how often and how long to look.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const LOOKS: u32 = 500;

/// The command's standard streams.
#[derive(Debug)]
pub(crate) struct Streams {
    /// Standard input.
    pub(crate) input: File,
    /// Standard output.
    pub(crate) output: File,
    /// Standard error.
    pub(crate) error: File,
    /// Whether the three are one terminal, which the command then controls.
    pub(crate) terminal: bool,
}

impl Streams {
    /// Opens three ports, or the one console if the run has a terminal.
    pub(crate) fn open(terminal: Option<Terminal>) -> Result<Self> {
        let Some(Terminal { rows, columns }) = terminal else {
            return Ok(Self {
                input: File::open(device_of(port::STDIN)?)
                    .context("cannot open the port of standard input")?,
                output: open_to_write(&device_of(port::STDOUT)?)?,
                error: open_to_write(&device_of(port::STDERR)?)?,
                terminal: false,
            });
        };
        let console = OpenOptions::new()
            .read(true)
            .write(true)
            .open(port::TERMINAL_DEVICE)
            .with_context(|| format!("cannot open {}", port::TERMINAL_DEVICE))?;
        tcsetwinsize(
            &console,
            Winsize {
                ws_row: rows,
                ws_col: columns,
                ws_xpixel: 0,
                ws_ypixel: 0,
            },
        )
        .context("cannot set the terminal's size")?;
        Ok(Self {
            input: console.try_clone().context("cannot duplicate the terminal")?,
            output: console.try_clone().context("cannot duplicate the terminal")?,
            error: console,
            terminal: true,
        })
    }
}

/// The device node of the port called `name`.
pub(crate) fn device_of(name: &str) -> Result<PathBuf> {
    for _ in 0..LOOKS {
        if let Some(device) = look_for(name)? {
            return Ok(device);
        }
        sleep(LOOK_AGAIN);
    }
    bail!("QEMU offers no port called {name}")
}

/// Opens a port for writing.
pub(crate) fn open_to_write(device: &Path) -> Result<File> {
    OpenOptions::new()
        .write(true)
        .open(device)
        .with_context(|| format!("cannot open the port {}", device.display()))
}

fn look_for(name: &str) -> Result<Option<PathBuf>> {
    let entries =
        fs::read_dir(PORTS).with_context(|| format!("cannot list {PORTS}; is virtio_console loaded?"))?;
    for entry in entries {
        let directory = entry.context("cannot list the virtio ports")?;
        let told = fs::read_to_string(directory.path().join("name")).unwrap_or_default();
        let device = Path::new("/dev").join(directory.file_name());
        if told.trim_end() == name && device.exists() {
            return Ok(Some(device));
        }
    }
    Ok(None)
}
