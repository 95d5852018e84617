//! The standard error while the screen is in use: what is logged, by this process or its privileged parent, must not be written over
//! the picture. It goes into a pipe, is shown where there is room for it, and is written where it belongs at the end.

use std::{
    collections::VecDeque,
    io::{self, IsTerminal as _, Write as _},
    os::fd::{AsFd as _, OwnedFd},
};

use rustix::{
    io::{Errno, read},
    pipe::{PipeFlags, pipe_with},
    stdio::dup2_stderr,
};
use tokio::io::{Interest, unix::AsyncFd};

use crate::{logging, readiness};

/// Lines that are kept for the end.
const KEPT: usize = 1000;

/// The longest line that is waited for.
const LONGEST: usize = 8 << 10;

/// The standard error, held back. Dropping it writes what was held.
pub struct Held {
    /// The standard error as it was.
    real: OwnedFd,
    /// Where what is written to it comes out.
    pipe: OwnedFd,
    lines: VecDeque<String>,
    /// Lines that were not kept.
    left_out: u64,
    /// The beginning of a line.
    begun: Vec<u8>,
}

impl Held {
    /// Holds the standard error back from now on, also that of processes which are split off; nothing to do where it is no terminal.
    ///
    /// # Errors
    /// Where there are no descriptors left.
    pub fn begin() -> io::Result<Option<Self>> {
        if !io::stderr().is_terminal() {
            return Ok(None);
        }
        let real = io::stderr().as_fd().try_clone_to_owned()?;
        let (pipe, end) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // What finds no room in it is left out by the log, and counted there.
        logging::never_wait();
        dup2_stderr(&end)?;
        Ok(Some(Self {
            real,
            pipe,
            lines: VecDeque::new(),
            left_out: 0,
            begun: Vec::new(),
        }))
    }

    /// It in the event loop. Within a runtime only.
    ///
    /// # Errors
    /// Where there are no descriptors left.
    pub fn listen(&self) -> io::Result<AsyncFd<OwnedFd>> {
        readiness::watch(self.pipe.as_fd(), Interest::READABLE)
    }

    /// The lines that have come since.
    pub fn take(&mut self) -> Vec<String> {
        let mut news = Vec::new();
        let mut room = [0; 4096];
        // An end of the pipe, a pipe without anything and a broken one are alike: there is no more.
        while let Ok(count) = read(&self.pipe, &mut room)
            && count > 0
        {
            for &byte in &room[..count] {
                if byte == b'\n' || self.begun.len() == LONGEST {
                    news.push(String::from_utf8_lossy(&self.begun).into_owned());
                    self.begun.clear();
                }
                if byte != b'\n' {
                    self.begun.push(byte);
                }
            }
        }
        for line in &news {
            if self.lines.len() == KEPT {
                self.lines.pop_front();
                self.left_out += 1;
            }
            self.lines.push_back(line.clone());
        }
        news
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.take();
        let restored: Result<(), Errno> = dup2_stderr(&self.real);
        if restored.is_err() {
            return;
        }
        // Nobody is left to tell when stderr itself is gone.
        let mut stderr = io::stderr().lock();
        if self.left_out > 0 {
            let _ = writeln!(
                stderr,
                "ldrscope: warn: lines of this log left out: {}",
                self.left_out
            );
        }
        for line in &self.lines {
            let _ = writeln!(stderr, "{line}");
        }
        if !self.begun.is_empty() {
            let _ = writeln!(stderr, "{}", String::from_utf8_lossy(&self.begun));
        }
    }
}
