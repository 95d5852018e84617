//! The caller's terminal during an interactive run: raw, so that the lab's own terminal sees every key.

use std::io;

use lab_protocol::Terminal;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// Keeps the terminal raw; puts it back as it was when dropped.
#[derive(Debug)]
pub(crate) struct Raw {
    before: Termios,
}

impl Raw {
    /// Makes the terminal on standard input raw.
    pub(crate) fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // Fails only if the terminal is gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// The terminal's size; 80 by 24 if it does not tell.
pub(crate) fn size() -> Terminal {
    match tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => Terminal {
            rows: size.ws_row,
            columns: size.ws_col,
        },
        _ => Terminal {
            rows: 24,
            columns: 80,
        },
    }
}
