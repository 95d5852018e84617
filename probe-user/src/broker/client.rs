//! The child's side.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use rustix::{net::RecvFlags, process::Pid};
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    transport::{receive, send},
    wire::{self, Answer, Request},
};
use crate::{
    bpf::{access::Access, handles::Handles},
    kernel::{layout::Encoding, obstacle::Obstacle},
    observer::HostFacts,
};

/// The broker, as its child sees it.
#[derive(Debug)]
pub struct Broker {
    socket: OwnedFd,
    parent: Pid,
}

/// What the broker answered.
pub enum Answered {
    /// The kernel side is open.
    Opened(Box<Handover>),
    /// Programs stand in for those of these hooks.
    Exchanged(Vec<(&'static str, OwnedFd)>),
}

/// A kernel side that the broker keeps attached.
pub struct Handover {
    /// Observes it.
    pub access: Access,
    /// What was found out about the host.
    pub facts: HostFacts,
    /// How this kernel keeps what the copies hold.
    pub encoding: Encoding,
    /// The fast programs are in; the next answer brings them.
    pub fast: bool,
}

impl Broker {
    pub(super) const fn new(socket: OwnedFd, parent: Pid) -> Self {
        Self { socket, parent }
    }

    /// The broker's process.
    #[must_use]
    pub const fn parent(&self) -> Pid {
        self.parent
    }

    /// Asks for the kernel side to be opened; [`Self::answer`] brings it.
    ///
    /// # Errors
    ///
    /// Where the broker is gone.
    pub fn ask(&self) -> Result<(), Obstacle> {
        self.say(&Request::Open)
    }

    /// Has the broker let go of the kernel side.
    ///
    /// # Errors
    ///
    /// Where the broker is gone.
    pub fn close(&self) -> Result<(), Obstacle> {
        self.say(&Request::Close)
    }

    /// Has the broker put the fast programs in, or take them out; [`Self::answer`] brings those that stand in then.
    ///
    /// # Errors
    ///
    /// Where the broker is gone.
    pub fn quicken(&self, fast: bool) -> Result<(), Obstacle> {
        self.say(if fast {
            &Request::Quicken
        } else {
            &Request::Slacken
        })
    }

    fn say(&self, request: &Request) -> Result<(), Obstacle> {
        send(&self.socket, request, &[]).map_err(gone)
    }

    /// The socket in the event loop, for [`Self::answer`]. Within a runtime only.
    ///
    /// # Errors
    ///
    /// Where the kernel has no more descriptors.
    pub fn listen(&self) -> Result<AsyncFd<OwnedFd>, Obstacle> {
        let socket = self.socket.as_fd();
        crate::readiness::watch(socket, Interest::READABLE)
            .map_err(|source| Obstacle::internal("waiting for the privileged process", source))
    }

    /// Waits for what was asked for. Nothing is lost where the wait is given up.
    ///
    /// # Errors
    ///
    /// What stood in the broker's way, or that it is gone.
    pub async fn answer(&self, readiness: &AsyncFd<OwnedFd>) -> Result<Answered, Obstacle> {
        loop {
            let mut ready = readiness.readable().await.map_err(gone)?;
            match receive::<Answer>(&self.socket, RecvFlags::DONTWAIT) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(error) => return Err(gone(error)),
                Ok(None) => return Err(gone(io::ErrorKind::UnexpectedEof.into())),
                Ok(Some((Answer::Refused(refusal), _))) => return Err(refusal.into_obstacle()),
                Ok(Some((Answer::Opened(opened), descriptors))) => {
                    let handles = opened
                        .programs()
                        .and_then(|programs| Handles::from_order(descriptors, &programs))
                        .ok_or_else(|| gone(io::ErrorKind::InvalidData.into()))?;
                    return Ok(Answered::Opened(Box::new(Handover {
                        access: Access::over(handles)?,
                        facts: opened.facts(),
                        encoding: opened.encoding(),
                        fast: opened.fast,
                    })));
                }
                Ok(Some((Answer::Exchanged { programs }, descriptors))) => {
                    let names = wire::known(&programs)
                        .filter(|names| names.len() == descriptors.len())
                        .ok_or_else(|| gone(io::ErrorKind::InvalidData.into()))?;
                    return Ok(Answered::Exchanged(names.into_iter().zip(descriptors).collect()));
                }
            }
        }
    }
}

fn gone(source: io::Error) -> Obstacle {
    Obstacle::internal("talking to the privileged process", source)
}
