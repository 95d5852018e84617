//! The connections there are, and which of them gives way to a new one.
//!
//! Never more than there are seats. Where all are taken, the connection that has been without a whole request for
//! longest makes room; after those, one whose client does not read its answer. Only where all are being answered, and go
//! on being so for a moment, is the new one turned away.

use std::{
    io::{Read as _, Write as _},
    rc::Rc,
    time::Duration,
};

use tokio::{
    net::TcpStream,
    select,
    sync::Notify,
    task::{JoinHandle, spawn_local, yield_now},
    time::{Instant, sleep_until},
};

use super::{
    HttpCounts,
    connection::attend,
    page::Pages,
    progress::{Progress, Readiness},
};

/// How long a new connection waits for one that is being answered.
const MOMENT: Duration = Duration::from_millis(100);

const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: text/plain; charset=utf-8\r\ncontent-length: 50\r\nconnection: close\r\n\r\n\
    All connections are in use (--max-connections N).\n";

/// The connections there are. To be used inside a [`tokio::task::LocalSet`].
#[derive(Debug)]
pub(super) struct Room {
    seats: usize,
    taken: Vec<Seat>,
    /// Somebody is not being answered any more.
    freed: Rc<Notify>,
    pages: Pages,
    counts: HttpCounts,
}

#[derive(Debug)]
struct Seat {
    task: JoinHandle<()>,
    progress: Rc<Progress>,
}

impl Room {
    /// Room for `seats` connections, at least one.
    pub(super) fn new(seats: usize, pages: Pages, counts: HttpCounts) -> Self {
        Self {
            seats: seats.max(1),
            taken: Vec::new(),
            freed: Rc::default(),
            pages,
            counts,
        }
    }

    /// Begins to attend to a connection, in the place of another where there is no other way.
    pub(super) async fn admit(&mut self, stream: TcpStream) {
        if !self.make_room().await {
            turn_away(stream);
            return;
        }
        let progress = Rc::new(Progress::new(self.freed.clone()));
        let attended = attend(stream, self.pages.clone(), self.counts.clone(), progress.clone());
        let freed = self.freed.clone();
        let task = spawn_local(async move {
            attended.await;
            freed.notify_one();
        });
        self.taken.push(Seat { task, progress });
        // It is to have read what it was sent before it may have to give way.
        yield_now().await;
    }

    /// True once there is a free seat; false where there is none to be had.
    async fn make_room(&mut self) -> bool {
        let deadline = Instant::now() + MOMENT;
        loop {
            self.taken.retain(|seat| !seat.task.is_finished());
            if self.taken.len() < self.seats {
                return true;
            }
            let now = Instant::now();
            if let Some(place) = readiest(self.taken.iter().map(|seat| seat.progress.readiness(now))) {
                self.counts.refused();
                let Seat { task, .. } = self.taken.swap_remove(place);
                task.abort();
                // It is closed, and its descriptor free, once this is over.
                let _ = task.await;
                return true;
            }
            if now >= deadline {
                self.counts.refused();
                return false;
            }
            let stall = self
                .taken
                .iter()
                .filter_map(|seat| seat.progress.stalls_at())
                .min();
            select! {
                () = self.freed.notified() => {}
                () = sleep_until(stall.map_or(deadline, |stall| stall.min(deadline))) => {}
            }
        }
    }
}

/// The place of the one that gives way first; `None` where none does.
fn readiest(connections: impl Iterator<Item = Option<Readiness>>) -> Option<usize> {
    connections
        .enumerate()
        .filter_map(|(place, readiness)| Some((readiness?, place)))
        .min()
        .map(|(_, place)| place)
}

/// Says that there is no room, if that can be said without waiting.
fn turn_away(stream: TcpStream) {
    let Ok(mut stream) = stream.into_std() else { return };
    // What was sent and not read would take the answer with it when the connection is closed.
    let _ = stream.read(&mut [0; 1024]);
    let _ = stream.write(FULL);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_idle_gives_way_then_one_that_does_not_read_then_none() {
        let now = Instant::now();
        let ago = |seconds| now.checked_sub(Duration::from_secs(seconds)).unwrap_or(now);
        let (idle, stalled) = (
            |seconds| Some(Readiness::Idle(ago(seconds))),
            |seconds| Some(Readiness::Stalled(ago(seconds))),
        );
        assert_eq!(
            readiest([idle(1), idle(3), None, stalled(9), idle(2)].into_iter()),
            Some(1)
        );
        assert_eq!(readiest([None, stalled(2), stalled(3)].into_iter()), Some(2));
        assert_eq!(readiest([None, None].into_iter()), None);
    }

    #[test]
    fn whoever_is_turned_away_gets_a_whole_answer() {
        let text = str::from_utf8(FULL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())));
    }
}
