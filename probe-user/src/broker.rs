//! Two processes in place of one: the *broker*, which alone holds privileges and whatever keeps the kernel side attached, and
//! its child, which does all the rest with none.
//!
//! The broker is the process that the user started. It opens the kernel side when the child asks, hands it the descriptors by
//! which it is observed, and lets go of it when the child says so, as after an unload of kvm. It reads nothing that a guest
//! or a VMM wrote but its own canary's registers. Neither outlives the other.
//!
//! [`wire`] is what they say to each other, [`transport`] how, [`parent`] the broker's side and [`client`] the child's;
//! [`farewell`] is for a child that was killed.

mod client;
mod farewell;
mod parent;
mod transport;
mod wire;

use std::{io, os::fd::OwnedFd};

use rustix::{
    net::{AddressFamily, SocketFlags, SocketType, socketpair},
    process::{Signal, getppid, set_parent_process_death_signal},
};

pub use self::{
    client::{Answered, Broker, Handover},
    farewell::remember_screen,
};
use crate::{kernel::obstacle::Obstacle, observer::ObserverOptions};

/// Splits this process in two and returns in the child, while the broker serves it in this very call and never comes back: it
/// ends as the child ends, with its exit code.
///
/// Call it while there is one thread.
///
/// # Errors
///
/// Where the kernel has no room for another process or descriptor.
pub fn split(options: &ObserverOptions) -> Result<Broker, Obstacle> {
    // Of both: a heap of a megabyte would grow to a whole huge page under a kernel that gives them unasked.
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        log::debug!("huge pages stay as they are: {error}");
    }
    let failed = |source: io::Error| Obstacle::internal("starting the unprivileged process", source);
    let (ours, childs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|error| failed(error.into()))?;
    let parent = rustix::process::getpid();
    // SAFETY: there is one thread, so that the child may do whatever this process may: no lock is held by anybody else.
    match unsafe { libc::fork() } {
        0 => {
            drop(ours);
            follow(parent).map_err(failed)?;
            Ok(Broker::new(childs, parent))
        }
        child if child > 0 => {
            drop::<OwnedFd>(childs);
            parent::serve(&ours, child, options)
        }
        _ => Err(failed(io::Error::last_os_error())),
    }
}

/// Has the kernel end this process when its parent ends, however that ends. To be said again after a change of the user:
/// the kernel forgets it then.
///
/// # Errors
///
/// Where the parent has ended already.
pub fn follow(parent: rustix::process::Pid) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid() == Some(parent) {
        Ok(())
    } else {
        Err(io::Error::from(io::ErrorKind::BrokenPipe))
    }
}
