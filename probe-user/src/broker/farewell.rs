//! What the broker still does where its child was killed and could not: the terminal is given back, and somebody says why it
//! is over. That within a signal handler, where nothing may allocate or lock: rustix makes the system calls and no more.

use std::{
    io::{self, IsTerminal as _},
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::OnceLock,
};

use rustix::{
    stdio,
    termios::{OptionalActions, Termios, tcgetattr, tcsetattr},
};

/// The screen as it was before the child drew on it.
static SCREEN: OnceLock<Screen> = OnceLock::new();

/// Shows the cursor and leaves the alternate screen: DECTCEM, and xterm's private mode 1049.
const LEAVE: &[u8] = b"\x1b[?25h\x1b[?1049l";

struct Screen {
    /// Of the terminal on standard input.
    mode: Termios,
    /// The standard error, before anything is held back from it.
    stderr: OwnedFd,
}

/// Remembers the terminal and the standard error as they are now: call it before a child is split off that will draw on the one
/// and hold back what goes to the other. Without a terminal there is nothing to remember.
///
/// # Errors
/// Where there are no descriptors left, or the terminal does not tell its mode.
pub fn remember_screen() -> io::Result<()> {
    if !io::stdin().is_terminal() {
        return Ok(());
    }
    let mode = tcgetattr(stdio::stdin())?;
    let stderr = io::stderr().as_fd().try_clone_to_owned()?;
    // Of two calls the first one saw the terminal untouched.
    let _ = SCREEN.set(Screen { mode, stderr });
    Ok(())
}

/// Gives the screen back and says by which signal the child was killed. Async-signal-safe.
pub(super) fn of_killed(signal: i32) {
    let stderr = SCREEN.get().map_or(stdio::stderr(), |screen| {
        // Of a terminal that is gone nothing is left to restore.
        let _ = tcsetattr(stdio::stdin(), OptionalActions::Now, &screen.mode);
        write(stdio::stdout(), LEAVE);
        screen.stderr.as_fd()
    });
    write(
        stderr,
        b"ldrscope: error: its unprivileged process was killed by signal ",
    );
    let digits = digits(signal);
    write(stderr, if signal < 10 { &digits[1..] } else { &digits });
    write(stderr, b"; nothing stays attached to the kernel\n");
}

/// A signal's number in two digits; there are 64.
fn digits(signal: i32) -> [u8; 2] {
    let digit = |number: i32| b'0' + u8::try_from(number.rem_euclid(10)).unwrap_or_default();
    [digit(signal / 10), digit(signal)]
}

fn write(to: BorrowedFd<'_>, bytes: &[u8]) {
    // Nobody is left to hear of a failure.
    let _ = rustix::io::write(to, bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_numbered_in_two_digits() {
        assert_eq!([9, 31, 64].map(digits), [*b"09", *b"31", *b"64"]);
    }
}
