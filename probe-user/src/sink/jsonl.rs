//! `watch --format jsonl`: one event or status message a line.

use std::io::{self, Write};

use super::{Sink, convert, json};
use crate::{clock::WallClock, engine::output::Output};

/// Writes JSON Lines.
#[derive(Debug)]
pub struct JsonLines<W> {
    out: W,
}

impl<W: Write> JsonLines<W> {
    /// Writes to `out`.
    pub const fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write> Sink for JsonLines<W> {
    fn emit(&mut self, output: &Output, wall: WallClock) -> io::Result<()> {
        match output {
            Output::Event(event) => json::write_line(&mut self.out, &convert::event(event, wall)),
            Output::Status(status) => json::write_line(&mut self.out, &convert::status(status, wall)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
