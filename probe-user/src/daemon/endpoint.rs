//! The HTTP endpoint: metrics for whoever asks, at a cost that nobody who asks can drive up.
//!
//! It runs inside the daemon's one thread and shares nothing with its loop but a queue of questions ([`Scrapes`]), at
//! most a few of which wait at a time: a flood of scrapes is answered from one text. How many connections there are is
//! bounded; the longest idle one gives way to a new one, so that clients that say nothing, or a byte a second, or never
//! read, keep nobody out ([`room`]). Each has deadlines of its own ([`connection`]).

mod connection;
mod page;
mod progress;
mod room;
mod scrape;

use std::{
    cell::RefCell,
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener},
    rc::Rc,
    time::Duration,
};

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, listen, socket_with,
    sockopt::{set_socket_reuseaddr, set_socket_send_buffer_size, set_tcp_nodelay},
};
use tokio::{task::LocalSet, time::sleep};

pub use self::scrape::{ScrapeRequest, Scraper, Scrapes, scrapes};
use self::{page::Pages, room::Room};
use super::metrics::HttpCounters;

/// Connections that may wait to be accepted; the kernel has a bound of its own (net.core.somaxconn).
const BACKLOG: i32 = 4096;
/// What the kernel keeps of an answer that is not read, in bytes.
const SEND_BUFFER: usize = 256 << 10;
/// After a failure to accept that the next attempt would meet, too, as when there are no descriptors left.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What was counted of an endpoint. Copies count together.
#[derive(Clone, Debug, Default)]
pub struct HttpCounts(Rc<RefCell<HttpCounters>>);

impl HttpCounts {
    /// The counts now.
    #[must_use]
    pub fn read(&self) -> HttpCounters {
        self.0.borrow().clone()
    }

    fn answered(&self, code: u16) {
        *self.0.borrow_mut().requests.entry(code).or_default() += 1;
    }

    fn refused(&self) {
        self.0.borrow_mut().refused += 1;
    }
}

/// A bound address, not served yet.
#[derive(Debug)]
pub struct Endpoint {
    listener: TcpListener,
}

impl Endpoint {
    /// Takes the address; connections wait from now on. Needs no runtime, and no privilege afterwards.
    ///
    /// # Errors
    /// Where the address is taken, or is none of this host's.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, SocketType::STREAM, flags, None)?;
        set_socket_reuseaddr(&socket, true)?;
        // Accepted sockets take these over.
        set_socket_send_buffer_size(&socket, SEND_BUFFER)?;
        set_tcp_nodelay(&socket, true)?;
        bind(&socket, &address)?;
        listen(&socket, BACKLOG)?;
        if !address.ip().is_loopback() {
            log::warn!(
                "metrics are served at {address}: whoever can reach that address learns this host's VMs by name"
            );
        }
        Ok(Self {
            listener: socket.into(),
        })
    }

    /// The address, with the port that the kernel chose where port 0 was asked for.
    ///
    /// # Errors
    /// Where the kernel does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves at most `max_connections` at a time, until dropped; that closes them all. To be awaited on a runtime of one
    /// thread with time and I/O, beside the loop that answers the [`Scrapes`].
    ///
    /// # Errors
    /// Where the runtime does not take the socket over.
    pub async fn serve(
        self,
        max_connections: usize,
        scraper: Scraper,
        counts: HttpCounts,
    ) -> io::Result<Infallible> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let pages = Pages::new(scraper, counts.clone());
        let room = Room::new(max_connections, pages, counts);
        LocalSet::new().run_until(accept(&listener, room)).await
    }
}

async fn accept(listener: &tokio::net::TcpListener, mut room: Room) -> ! {
    let mut pause = None;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                pause = None;
                room.admit(stream).await;
            }
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                if pause.is_none() {
                    log::warn!("no connection can be accepted by the metrics endpoint, it tries on: {error}");
                }
                let length = pause.map_or(SHORTEST_PAUSE, |last: Duration| (last * 2).min(LONGEST_PAUSE));
                pause = Some(length);
                sleep(length).await;
            }
        }
    }
}

/// Whether the client went before it was accepted (accept(2)).
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}
