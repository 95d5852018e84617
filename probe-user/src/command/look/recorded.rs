//! A look at a recording: the host as it was at its end, or at a moment of it.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::Result;
use probe_apic::map_rules::MapRules;
use recording::Ending;

use super::Look;
use crate::{
    cli::Subject,
    identity::filter::VmFilter,
    tape::{Moment, PlayerOptions, Replayed, Tape, TapeError},
};

/// Plays the recording until then.
///
/// # Errors
/// A [`TapeError`], or a filter that matches nothing.
pub(super) fn look(path: &Path, at: Option<Moment>, subject: &Subject) -> Result<Look> {
    let filter = VmFilter::new(subject.vm.clone());
    look_through(Tape::open(path, options(at, filter, subject.as_kvm))?)
}

/// The same of a recording that is open, and called `name`.
///
/// # Errors
/// As [`look`].
pub(in crate::command) fn look_at(
    name: PathBuf,
    input: Box<dyn Read>,
    at: Option<Moment>,
    filter: VmFilter,
    as_kvm: Option<MapRules>,
) -> Result<Look> {
    look_through(Tape::over(name, input, options(at, filter, as_kvm))?)
}

const fn options(at: Option<Moment>, filter: VmFilter, as_kvm: Option<MapRules>) -> PlayerOptions {
    PlayerOptions {
        // What is, is judged at once.
        settle_nanos: Some(0),
        filter,
        as_kvm,
        until: at,
    }
}

fn look_through(mut tape: Tape) -> Result<Look> {
    play(&mut tape)?;
    let path = tape.path().to_owned();
    let player = tape.into_player();
    let (taken_at, wall) = (player.now(), player.wall());
    if let Some(begins) = player.began().filter(|began| taken_at < *began) {
        let begins = wall.rfc3339(begins);
        return Err(TapeError::TooEarly { path, begins }.into());
    }
    let engine = player.into_engine().ok_or(TapeError::Nothing { path })?;
    engine.check_filter()?;
    Ok(Look {
        engine,
        list_is_whole: true,
        taken_at,
        wall,
    })
}

/// Nobody hears what is told on the way.
fn play(tape: &mut Tape) -> Result<(), TapeError> {
    let mut told = Vec::new();
    loop {
        match tape.step(&mut told)? {
            Replayed::To(_) => told.clear(),
            Replayed::End(Ending::Cut { whole_until }) => {
                tape.warn_of_cut(whole_until);
                return Ok(());
            }
            Replayed::End(Ending::Whole) | Replayed::Until => return Ok(()),
        }
    }
}
