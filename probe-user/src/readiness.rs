//! Descriptors in the event loop: the ring that becomes readable, the reader of our output that goes away.

use std::{
    future::pending,
    io,
    os::fd::{BorrowedFd, OwnedFd},
};

use tokio::io::{Interest, unix::AsyncFd};

/// Waits for a descriptor of somebody else's. It is duplicated, so that its owner stays free to use it.
pub(crate) fn watch(descriptor: BorrowedFd<'_>, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    let descriptor = descriptor.try_clone_to_owned()?;
    // SAFETY: the duplicate is valid and open, and owned by the `AsyncFd` alone: nobody else can close it,
    // and `OwnedFd` names the same descriptor as long as it lives.
    let registered = unsafe { AsyncFd::register_with_interest(descriptor, interest) };
    registered.map_err(|error| error.into_parts().1)
}

/// Whoever reads the standard output.
pub(crate) struct Reader {
    /// `None` for a file, which nobody closes at the other end.
    output: Option<AsyncFd<OwnedFd>>,
}

impl Reader {
    pub(crate) fn of_stdout() -> Self {
        Self {
            output: watch(rustix::stdio::stdout(), Interest::ERROR).ok(),
        }
    }

    /// Returns when the reader has closed the pipe: without findings, nothing else would tell.
    pub(crate) async fn left(&self) {
        if let Some(output) = &self.output {
            while let Ok(mut ready) = output.ready(Interest::ERROR).await {
                if ready.ready().is_error() {
                    return;
                }
                ready.clear_ready();
            }
        }
        pending().await
    }
}
