//! Everything that is printed: the only place that formats or serializes.
//!
//! Live output goes through [`Sink`] ([`text`], [`jsonl`]); a snapshot is written whole
//! ([`snapshot_table`], [`snapshot_json`], [`snapshot_html`]), deliveries likewise ([`deliver_table`], [`deliver_json`]); a
//! program that makes it again is [`reproducer`]'s. Text for people lives in [`phrase`]; the documents themselves are [`crate::message`].
//! Whatever a guest or an operator named passes [`escape`].

pub mod check_line;
pub mod convert;
pub mod deliver_json;
pub mod deliver_table;
pub mod diff_json;
pub mod diff_text;
pub mod doctor;
pub mod explanation;
pub mod html;
pub mod json;
pub mod jsonl;
pub mod phrase;
pub(crate) mod registers;
pub mod reproducer;
pub mod snapshot_html;
pub mod snapshot_json;
pub mod snapshot_table;
pub mod terminal;
pub mod text;

use std::io;

use crate::{clock::WallClock, engine::output::Output};

/// Takes what the engine says, as it happens.
pub trait Sink {
    /// Writes one output; `wall` is the wall clock of the moment.
    ///
    /// # Errors
    /// When the writer fails; a closed pipe is [`io::ErrorKind::BrokenPipe`].
    fn emit(&mut self, output: &Output, wall: WallClock) -> io::Result<()>;

    /// Hands everything on.
    ///
    /// # Errors
    /// As for [`Self::emit`].
    fn flush(&mut self) -> io::Result<()>;
}

/// Standard output could not be written.
#[derive(Debug, thiserror::Error)]
#[error("standard output cannot be written")]
pub struct OutputError(#[from] pub io::Error);
