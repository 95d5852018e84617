//! The file, or the standard input, that a recording comes from.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{
    TapeError,
    player::{Player, PlayerOptions, Replayed},
};
use crate::engine::output::Output;

/// A recording that is played, and its name for whoever must be told what is wrong with it.
pub struct Tape {
    path: PathBuf,
    player: Player<Box<dyn Read>>,
}

impl Tape {
    /// Opens the recording `path`; `-` is the standard input.
    ///
    /// # Errors
    /// [`TapeError::Open`] and [`TapeError::Read`].
    pub fn open(path: &Path, options: PlayerOptions) -> Result<Self, TapeError> {
        let input: Box<dyn Read> = if path.as_os_str() == "-" {
            Box::new(io::stdin().lock())
        } else {
            let opened = File::open(path).map_err(|source| TapeError::Open {
                path: path.to_owned(),
                source,
            });
            Box::new(opened?)
        };
        let path = match path.to_str() {
            Some("-") => PathBuf::from("standard input"),
            _ => path.to_owned(),
        };
        Self::over(path, input, options)
    }

    /// Opens a recording that is read from `input` and called `path`.
    ///
    /// # Errors
    /// [`TapeError::Read`].
    pub fn over(path: PathBuf, input: Box<dyn Read>, options: PlayerOptions) -> Result<Self, TapeError> {
        match Player::open(input, options) {
            Ok(player) => Ok(Self { path, player }),
            Err(source) => Err(TapeError::Read {
                path,
                in_part: false,
                source,
            }),
        }
    }

    /// Plays the next entry; see [`Player::step`].
    ///
    /// # Errors
    /// [`TapeError::Read`].
    pub fn step(&mut self, told: &mut Vec<Output>) -> Result<Replayed, TapeError> {
        self.player.step(told).map_err(|source| TapeError::Read {
            path: self.path.clone(),
            in_part: self.player.began().is_some(),
            source,
        })
    }

    /// Goes on past the moment to stop at, to the end.
    pub fn go_on(&mut self) {
        self.player.go_on();
    }

    /// What plays it.
    #[must_use]
    pub const fn player(&self) -> &Player<Box<dyn Read>> {
        &self.player
    }

    /// What plays it, for good.
    #[must_use]
    pub fn into_player(self) -> Player<Box<dyn Read>> {
        self.player
    }

    /// The name of the recording.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Says on stderr that it was cut.
    pub fn warn_of_cut(&self, whole_until: u64) {
        log::warn!(
            "{} was cut: it ends after byte {whole_until}, at {}; what came later is not known",
            self.path.display(),
            self.player.wall().human(self.player.now())
        );
    }
}
