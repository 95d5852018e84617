//! What a process may do besides that draws on a terminal, and that no other may.

use std::{fs, io, os::fd::OwnedFd};

use ldrscope::privilege::{FileAccess, Keep, Sandbox, confine, drop_all};
use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    io::Errno,
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{OptionalActions, tcgetattr, tcgetwinsize, tcsetattr},
};

use crate::scenario::{Verdict, require, scratch, text};

fn terminal() -> Result<(OwnedFd, OwnedFd), String> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).map_err(text)?;
    grantpt(&ours).map_err(text)?;
    unlockpt(&ours).map_err(text)?;
    let name = ptsname(&ours, Vec::new()).map_err(text)?;
    let end = openat(CWD, name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).map_err(text)?;
    Ok((ours, end))
}

/// It asks for the size, changes the mode and gives it back, makes files; it can neither type into the terminal nor read those files.
pub(crate) fn drawing() -> Verdict {
    let directory = scratch("drawing")?;
    let before = directory.join("before");
    fs::write(&before, "x").map_err(text)?;
    let (_ours, end) = terminal()?;
    drop_all(Keep::Nothing, None).map_err(text)?;
    let sandbox = Sandbox {
        growing: vec![directory.clone()],
        terminal: true,
        ..Sandbox::default()
    };
    let confined = confine(&sandbox).map_err(text)?;
    tcgetwinsize(&end).map_err(|error| format!("the size: {error}"))?;
    let mode = tcgetattr(&end).map_err(|error| format!("the mode: {error}"))?;
    let mut raw = mode.clone();
    raw.make_raw();
    tcsetattr(&end, OptionalActions::Now, &raw).map_err(|error| format!("another mode: {error}"))?;
    tcsetattr(&end, OptionalActions::Now, &mode).map_err(|error| format!("the mode given back: {error}"))?;
    let key = b'x';
    // SAFETY: reads one byte at an address that is valid.
    let typed = unsafe {
        libc::ioctl(
            std::os::fd::AsRawFd::as_raw_fd(&end),
            libc::TIOCSTI,
            &raw const key,
        )
    };
    let refused = (typed, io::Error::last_os_error().raw_os_error()) == (-1, Some(libc::ENOSYS));
    require(refused, "keys can be put into the terminal")?;

    let made = directory.join("made");
    fs::write(&made, "x").map_err(|error| format!("a file: {error}"))?;
    fs::remove_file(&made).map_err(|error| format!("a file taken back: {error}"))?;
    let read = fs::read(&before).err().map(|error| error.kind());
    let is_denied = read == Some(io::ErrorKind::PermissionDenied);
    require(
        is_denied || !matches!(confined.files, FileAccess::Restricted { .. }),
        "what was there can be read",
    )
}

/// Whoever does not draw has nothing to ask a terminal.
pub(crate) fn not_drawing() -> Verdict {
    let (_ours, end) = terminal()?;
    drop_all(Keep::Nothing, None).map_err(text)?;
    confine(&Sandbox::default()).map_err(text)?;
    require(
        tcgetwinsize(&end) == Err(Errno::NOSYS),
        "a terminal's size can be asked",
    )
}
