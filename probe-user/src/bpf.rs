//! The kernel side as seen from here: the embedded object, loaded and attached ([`attachment`]), the descriptors by which it is
//! observed ([`handles`]), and what is done with them: the ring of events and the copies on demand ([`access`]). [`lookup`] asks
//! the kernel where KVM's functions and variables are.
//!
//! Whoever attaches needs privileges, whoever observes needs the descriptors alone, so that the two may be different processes.

pub mod access;
pub mod attachment;
mod fentry;
pub mod handles;
pub mod interrupts;
mod loader;
pub mod lookup;
mod mapped;
pub mod ring;
mod speaking;
mod syscall;
pub mod window;
