//! What was observed, taken down and played again.
//!
//! A [`Recorder`] stands beside the engine and packs what it is given; a [`Player`] gives the same to an engine on any
//! machine, which then says the same. A [`FlightRecorder`] keeps the last of it in memory. What a VM's process says about itself is recorded as it was resolved, never as it was
//! read: a command line may hold more than a name. The format of the file is the crate `recording`'s.

mod convert;
mod error;
mod flight;
mod player;
mod recorder;
mod source;

pub use self::{
    error::TapeError,
    flight::{Flight, FlightRecorder},
    player::{Moment, Player, PlayerOptions, Replayed},
    recorder::Recorder,
    source::Tape,
};
