//! `top`: the same live, full screen, of this host or of a recording.
//!
//! Data goes one way: the engine -> [`model`], plain data that says what is shown -> [`screen`], which draws it and does nothing
//! else -> [`terminal`], the edge. Keys come the other way: [`keys`] turns them into actions, which change the model. [`desk`] wires
//! these together beside whatever feeds the engine; it is all that the loops of `top` know.

pub mod desk;
pub mod error;
pub mod keys;
pub mod model;
pub mod screen;
pub mod snapshot;
pub mod stderr;
pub mod terminal;
