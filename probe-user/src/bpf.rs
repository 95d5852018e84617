//! The kernel side as userspace holds it: the embedded object, loading and attaching, the ring of
//! events, the window of copies.
//!
//! What events and copies mean is [`crate::observer`]'s business.

pub mod probe;
pub mod ring;
pub mod window;
