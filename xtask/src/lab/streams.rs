//! Carries the command's standard streams between QEMU's sockets and xtask's caller.

use std::{
    io::{self, Read as _, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result};

use super::{qemu::StreamPorts, terminal};

/// Where the command's standard input comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// Nowhere: it reads an end of file.
    Empty,
    /// From xtask's own standard input, as it is.
    Inherited,
    /// From the caller's terminal, which the command then controls.
    Terminal,
}

/// The streams of a run under way.
#[derive(Debug)]
pub(crate) struct Carried {
    copiers: Vec<JoinHandle<()>>,
    /// Open as long as the lab runs: QEMU drops what it has not yet read from a socket that was closed.
    _input: UnixStream,
    /// Gives the caller's terminal back.
    _raw: Option<terminal::Raw>,
}

impl Carried {
    /// Starts carrying.
    pub(crate) fn start(
        ports: StreamPorts,
        input: Input,
        output: Box<dyn Write + Send>,
        error: Box<dyn Write + Send>,
    ) -> Result<Self> {
        match ports {
            StreamPorts::Apart {
                input: port,
                output: out,
                error: err,
            } => {
                let copiers = vec![copy(out, output), copy(err, error)];
                Ok(Self {
                    copiers,
                    _input: feed(port, input)?,
                    _raw: None,
                })
            }
            StreamPorts::Terminal(console) => {
                let raw = terminal::Raw::enter().context("cannot make the terminal raw")?;
                let port = console
                    .try_clone()
                    .context("cannot duplicate the terminal's socket")?;
                Ok(Self {
                    copiers: vec![copy(console, output)],
                    _input: feed(port, input)?,
                    _raw: Some(raw),
                })
            }
        }
    }

    /// The threads that still carry output; they end with QEMU.
    pub(crate) fn finish(self) -> Vec<JoinHandle<()>> {
        self.copiers
    }
}

/// Feeds standard input to `port`; its end is the command's. The thread may outlive the run, waiting for a key.
fn feed(port: UnixStream, input: Input) -> Result<UnixStream> {
    let mut end = port
        .try_clone()
        .context("cannot duplicate the socket of standard input")?;
    if input == Input::Empty {
        // Fails only if QEMU has died, which the run will see.
        let _ = end.shutdown(Shutdown::Write);
    } else {
        thread::spawn(move || {
            // An error is the lab's end; there is nobody left to tell.
            let _ = io::copy(&mut io::stdin(), &mut end);
            let _ = end.shutdown(Shutdown::Write);
        });
    }
    Ok(port)
}

/// Copies as bytes come. A reader that has gone, as in `lab -- CMD | head`, must not stop the command.
fn copy(mut from: UnixStream, mut to: Box<dyn Write + Send>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        let mut wanted = true;
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            wanted = wanted && to.write_all(&buffer[..read]).and_then(|()| to.flush()).is_ok();
        }
    })
}
