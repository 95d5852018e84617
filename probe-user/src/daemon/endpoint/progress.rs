//! How far a connection is with its present request, and the stream that keeps note of it.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    select,
    sync::Notify,
    time::{Instant, sleep_until},
};

/// From the first byte of a request, or the begin of the connection, to the end of its header.
const HEADER_TIME: Duration = Duration::from_secs(5);
/// From one answer to the next request.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// From a whole request until its answer is written.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// A client that takes nothing of its answer for so long, though the kernel keeps no more of it, may have to make room.
const STALLED: Duration = Duration::from_millis(25);

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// For a whole request.
    Waiting {
        since: Instant,
        /// When it has to be there.
        until: Instant,
    },
    Answering {
        since: Instant,
        /// When the client took something last.
        moved: Instant,
        /// The answer is on its way.
        given: bool,
    },
}

/// How far a connection is.
#[derive(Debug)]
pub(super) struct Progress {
    phase: Cell<Phase>,
    /// The deadline is an earlier one.
    hastened: Notify,
    /// The room's: somebody can give way.
    freed: Rc<Notify>,
}

/// How readily a connection gives way to another, the readiest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Readiness {
    /// It has had no whole request since then.
    Idle(Instant),
    /// Its client has not read since then.
    Stalled(Instant),
}

impl Progress {
    /// Of a connection that begins now; `freed` hears when it is not being answered any more.
    pub(super) fn new(freed: Rc<Notify>) -> Self {
        let now = Instant::now();
        Self {
            phase: Cell::new(Phase::Waiting {
                since: now,
                until: now + HEADER_TIME,
            }),
            hastened: Notify::new(),
            freed,
        }
    }

    /// Whether it can give way to another; `None` while it is being answered.
    pub(super) fn readiness(&self, now: Instant) -> Option<Readiness> {
        match self.phase.get() {
            Phase::Waiting { since, .. } => Some(Readiness::Idle(since)),
            Phase::Answering {
                moved, given: true, ..
            } if now.duration_since(moved) >= STALLED => Some(Readiness::Stalled(moved)),
            Phase::Answering { .. } => None,
        }
    }

    /// When it will be able to give way if its client goes on not reading; `None` where that says nothing.
    pub(super) fn stalls_at(&self) -> Option<Instant> {
        match self.phase.get() {
            Phase::Answering {
                moved, given: true, ..
            } => Some(moved + STALLED),
            Phase::Answering { .. } | Phase::Waiting { .. } => None,
        }
    }

    /// Waits until the connection has exhausted its time.
    pub(super) async fn overdue(&self) {
        loop {
            let until = self.until();
            if until <= Instant::now() {
                return;
            }
            select! {
                () = sleep_until(until) => {}
                () = self.hastened.notified() => {}
            }
        }
    }

    fn until(&self) -> Instant {
        match self.phase.get() {
            Phase::Waiting { until, .. } => until,
            Phase::Answering { since, .. } => since + ANSWER_TIME,
        }
    }

    /// A whole request is there.
    pub(super) fn requested(&self) {
        let now = Instant::now();
        self.step(Phase::Answering {
            since: now,
            moved: now,
            given: false,
        });
    }

    /// Its answer is ready to be written.
    pub(super) fn given(&self) {
        if let Phase::Answering { since, .. } = self.phase.get() {
            self.step(Phase::Answering {
                since,
                moved: Instant::now(),
                given: true,
            });
        }
    }

    /// A byte of the next request came.
    fn read(&self) {
        if let Phase::Waiting { since, until } = self.phase.get() {
            let until = until.min(Instant::now() + HEADER_TIME);
            self.step(Phase::Waiting { since, until });
        }
    }

    /// The client took some of the answer.
    fn written(&self) {
        if let Phase::Answering { since, given, .. } = self.phase.get() {
            self.step(Phase::Answering {
                since,
                moved: Instant::now(),
                given,
            });
        }
    }

    /// All that was to be written is.
    fn flushed(&self) {
        if let Phase::Answering { given: true, .. } = self.phase.get() {
            let now = Instant::now();
            self.step(Phase::Waiting {
                since: now,
                until: now + KEEP_ALIVE,
            });
            self.freed.notify_one();
        }
    }

    fn step(&self, phase: Phase) {
        let before = self.until();
        self.phase.set(phase);
        if self.until() < before {
            self.hastened.notify_one();
        }
    }
}

/// A client's stream.
#[derive(Debug)]
pub(super) struct Watched {
    stream: TcpStream,
    progress: Rc<Progress>,
}

impl Watched {
    pub(super) const fn new(stream: TcpStream, progress: Rc<Progress>) -> Self {
        Self { stream, progress }
    }

    fn note_write(&self, outcome: &Poll<io::Result<usize>>) {
        if matches!(outcome, Poll::Ready(Ok(written)) if *written > 0) {
            self.progress.written();
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.progress.read();
        }
        outcome
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note_write(&outcome);
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note_write(&outcome);
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// The server flushes once nothing is left to write.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(context);
        if matches!(outcome, Poll::Ready(Ok(()))) {
            self.progress.flushed();
        }
        outcome
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
