//! A running `ldrscope top` on a terminal of the lab's own: what it draws is read as a terminal would read it, keys are pressed as a person would
//! press them. Dropping it closes the terminal and kills it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::{ioctl_tiocsctty, setsid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::{Hooks, PATIENCE, ToolError, command};
use crate::reap;

/// Between two looks at the screen.
const POLL: Duration = Duration::from_millis(20);

/// `top` and the terminal that it runs on.
pub struct FullScreen {
    child: Child,
    /// Our end; `None` once it was closed.
    terminal: Option<Arc<File>>,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl FullScreen {
    /// Starts `ldrscope top` on a terminal of that many columns and lines, with further arguments, and returns at once.
    pub fn start(hooks: Hooks, (columns, lines): (u16, u16), args: &[&str]) -> Result<Self, ToolError> {
        let failed = ToolError::child("make a terminal for");
        let (terminal, end) = open_terminal().map_err(&failed)?;
        resize(&terminal, (columns, lines)).map_err(&failed)?;
        let mut top = command(&["top", "--hooks", hooks.word()]);
        top.args(args)
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR");
        let stdio = || end.try_clone().map_err(&failed);
        top.stdin(stdio()?).stdout(stdio()?).stderr(stdio()?);
        // SAFETY: between fork and exec it makes two system calls on descriptors that are there, and nothing else.
        unsafe { top.pre_exec(own_terminal) };
        let child = top.spawn().map_err(|source| ToolError::Start {
            program: top.get_program().to_owned(),
            source,
        })?;
        let screen = Arc::new(Mutex::new(vt100::Parser::new(some(lines), some(columns), 0)));
        let terminal = Arc::new(terminal);
        let (output, reader) = (Arc::downgrade(&terminal), Arc::clone(&screen));
        thread::spawn(move || follow(&output, &reader));
        Ok(Self {
            child,
            terminal: Some(terminal),
            screen,
        })
    }

    /// What is on the screen now, line by line.
    pub fn text(&self) -> String {
        self.with(|screen| screen.contents())
    }

    /// Whether it draws on the screen that a terminal keeps beside the usual one.
    pub fn is_drawing(&self) -> bool {
        self.with(vt100::Screen::alternate_screen)
    }

    /// Waits until the screen shows something.
    pub fn wait_for(
        &mut self,
        what: &str,
        limit: Duration,
        holds: impl Fn(&str) -> bool,
    ) -> Result<(), ToolError> {
        let deadline = Instant::now() + limit;
        loop {
            let text = self.text();
            if holds(&text) {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait().map_err(ToolError::child("look at"))? {
                return Err(ToolError::Ended {
                    status: status.to_string(),
                    stderr: text,
                });
            }
            if Instant::now() >= deadline {
                return Err(ToolError::NotSeen {
                    what: what.to_owned(),
                    seconds: limit.as_secs(),
                    state: format!("the screen:\n{text}"),
                });
            }
            thread::sleep(POLL);
        }
    }

    /// Waits until the screen shows `words`.
    pub fn shows(&mut self, words: &str) -> Result<(), ToolError> {
        self.wait_for(&format!("the screen shows `{words}`"), PATIENCE, |text| {
            text.contains(words)
        })
    }

    /// Presses keys, as the bytes that a terminal sends for them.
    pub fn press(&mut self, keys: &str) -> Result<(), ToolError> {
        let Some(mut terminal) = self.terminal.as_deref() else {
            return Ok(());
        };
        terminal
            .write_all(keys.as_bytes())
            .map_err(ToolError::child("press keys of"))
    }

    /// Gives the terminal another size.
    pub fn resize(&mut self, (columns, lines): (u16, u16)) -> Result<(), ToolError> {
        let Some(terminal) = &self.terminal else {
            return Ok(());
        };
        let mut screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        screen.screen_mut().set_size(some(lines), some(columns));
        drop(screen);
        resize(terminal, (columns, lines)).map_err(ToolError::child("resize the terminal of"))
    }

    /// Whether the terminal reads lines and shows what is typed, as it did in the beginning.
    pub fn is_restored(&self) -> Result<bool, ToolError> {
        let Some(terminal) = &self.terminal else {
            return Ok(false);
        };
        let modes =
            tcgetattr(terminal).map_err(|errno| ToolError::child("ask the terminal of")(errno.into()))?;
        let cooked = LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        Ok(modes.local_modes.contains(cooked) && !self.is_drawing())
    }

    /// Closes the terminal, as when somebody shuts its window.
    pub fn close(&mut self) {
        self.terminal = None;
    }

    /// The process that was started, which is the privileged one.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has ended.
    pub fn wait_for_exit(&mut self) -> Result<ExitStatus, ToolError> {
        let ended = reap::wait_at_most(&mut self.child, PATIENCE).map_err(ToolError::child("wait for"))?;
        ended.ok_or_else(|| ToolError::StillRunning {
            args: "top".to_owned(),
            seconds: PATIENCE.as_secs(),
            stderr: self.text(),
        })
    }

    fn with<T>(&self, ask: impl FnOnce(&vt100::Screen) -> T) -> T {
        ask(self
            .screen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .screen())
    }
}

impl Drop for FullScreen {
    fn drop(&mut self) {
        reap::kill(&mut self.child);
    }
}

/// No terminal is without a column or a line.
fn some(extent: u16) -> NonZero<u16> {
    NonZero::new(extent).unwrap_or(NonZero::<u16>::MIN)
}

/// Our end and the other.
fn open_terminal() -> io::Result<(File, OwnedFd)> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let name = ptsname(&ours, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let end = openat(CWD, name, flags, Mode::empty())?;
    Ok((ours.into(), end))
}

fn resize(terminal: &File, (columns, lines): (u16, u16)) -> io::Result<()> {
    let size = Winsize {
        ws_row: lines,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(tcsetwinsize(terminal, size)?)
}

/// Becomes a session of its own with the terminal on the standard input, so that a hang-up reaches it.
fn own_terminal() -> io::Result<()> {
    setsid()?;
    Ok(ioctl_tiocsctty(io::stdin())?)
}

/// Reads what is drawn until the terminal is closed, which it does not keep open for longer than a look.
fn follow(terminal: &Weak<File>, screen: &Mutex<vt100::Parser>) {
    let patience = Timespec {
        tv_sec: 0,
        tv_nsec: 20_000_000,
    };
    let mut room = [0; 4096];
    while let Some(terminal) = terminal.upgrade() {
        let mut asked = [PollFd::new(&*terminal, PollFlags::IN)];
        if !matches!(poll(&mut asked, Some(&patience)), Ok(1)) {
            continue;
        }
        match (&*terminal).read(&mut room) {
            Ok(count) if count > 0 => screen
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .process(&room[..count]),
            // EIO while none of its processes has it open.
            _ => thread::sleep(POLL),
        }
    }
}
