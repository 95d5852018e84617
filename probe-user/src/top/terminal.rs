//! The terminal: taken over, drawn on, and given back as it was, however `top` ends. The one module that knows escape sequences and modes.

use std::{
    io::{self, BufWriter, IsTerminal as _, Stdout},
    thread,
};

use ratatui::{
    Terminal, TerminalOptions, Viewport,
    backend::CrosstermBackend,
    crossterm::{
        cursor::{Hide, Show},
        event::{self, Event},
        execute, style,
        terminal::{
            Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
        },
    },
    layout::Rect,
};
use rustix::termios::tcgetwinsize;
use tokio::sync::mpsc::{Receiver, channel};

use super::{
    error::TopError,
    model::{Model, place::Sight},
    screen::{self, Theme},
};

/// Of a terminal that does not know its size.
const USUAL: (u16, u16) = (80, 24);

/// Keys that may wait.
const KEYS: usize = 64;

/// Whether there is a terminal to draw on and to read keys from.
///
/// # Errors
/// [`TopError::NoTerminal`] and [`TopError::Dumb`].
pub fn check() -> Result<(), TopError> {
    let ends = [
        ("standard output", io::stdout().is_terminal()),
        ("standard input", io::stdin().is_terminal()),
    ];
    if let Some((what, _)) = ends.into_iter().find(|(_, is_terminal)| !is_terminal) {
        return Err(TopError::NoTerminal { what });
    }
    if std::env::var_os("TERM").is_some_and(|term| term == "dumb") {
        return Err(TopError::Dumb);
    }
    Ok(())
}

/// A terminal that was taken over. Dropping it gives it back.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
    theme: Theme,
    area: Rect,
    _mode: Mode,
}

impl Screen {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// [`TopError::Terminal`]; it is as it was then.
    pub fn enter(theme: Theme) -> Result<Self, TopError> {
        style::force_color_output(theme.colour);
        let mode = Mode::enter().map_err(TopError::Terminal)?;
        let area = size();
        Ok(Self {
            terminal: blank(area).map_err(TopError::Terminal)?,
            theme,
            area,
            _mode: mode,
        })
    }

    /// Shows the model, and says what of it is to be seen.
    ///
    /// # Errors
    /// [`TopError::Terminal`].
    pub fn draw(&mut self, model: &Model) -> Result<Sight, TopError> {
        let area = size();
        if area != self.area {
            self.terminal = blank(area).map_err(TopError::Terminal)?;
            self.area = area;
        }
        let mut sight = Sight::default();
        let drawn = self.terminal.draw(|frame| {
            sight = screen::draw(model, self.theme, frame.area(), frame.buffer_mut());
        });
        drawn.map_err(TopError::Terminal)?;
        Ok(sight)
    }
}

/// A cleared screen of this size. Fixed, for its size is asked here: left to itself it would open /dev/tty, which a confined process
/// cannot reach. Cleared here, for that it would ask where the cursor is, and wait for a terminal that does not answer.
fn blank(area: Rect) -> io::Result<Terminal<CrosstermBackend<BufWriter<Stdout>>>> {
    execute!(io::stdout(), Clear(ClearType::All))?;
    let backend = CrosstermBackend::new(BufWriter::new(io::stdout()));
    let viewport = Viewport::Fixed(area);
    Terminal::with_options(backend, TerminalOptions { viewport })
}

fn size() -> Rect {
    let size = tcgetwinsize(io::stdout()).map(|size| (size.ws_col, size.ws_row));
    let (width, height) = match size {
        Ok((width, height)) if width > 0 && height > 0 => (width, height),
        _ => USUAL,
    };
    Rect::new(0, 0, width, height)
}

/// The mode of the terminal; dropping it restores the one before.
struct Mode;

impl Mode {
    fn enter() -> io::Result<Self> {
        enable_raw_mode()?;
        // From here on it is given back also where the next step fails.
        let mode = Self;
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        Ok(mode)
    }
}

impl Drop for Mode {
    fn drop(&mut self) {
        // Of a terminal that is gone nothing is left to restore.
        let _ = execute!(io::stdout(), Show, LeaveAlternateScreen);
        let _ = disable_raw_mode();
    }
}

/// What is typed, and changes of the size, from now on to the end of the process. Reading them waits, and so it has a thread.
///
/// # Errors
/// [`TopError::Terminal`], where there is no room for one.
pub fn keys() -> Result<Receiver<Event>, TopError> {
    let (sender, keys) = channel(KEYS);
    thread::Builder::new()
        .name("keys".to_owned())
        .spawn(move || {
            while let Ok(event) = event::read() {
                if sender.blocking_send(event).is_err() {
                    break;
                }
            }
        })
        .map_err(TopError::Terminal)?;
    Ok(keys)
}
