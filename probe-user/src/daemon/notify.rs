//! What systemd is told: ready, status, reloading, stopping, and that the event loop still turns.
//!
//! A datagram each, never waited for. What systemd does not take at once is sent again; only a ping of the watchdog is not,
//! since it must come from a loop that turns. Without `NOTIFY_SOCKET` nothing happens.

use std::{
    collections::VecDeque,
    env,
    ffi::OsString,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use probe_apic::id::BootTime;
use rustix::{
    process::{getpid, getppid},
    time::{ClockId, clock_gettime},
};

use crate::{clock, escape::escape_line};

/// Before another attempt, in nanoseconds.
const RETRY_AFTER: u64 = 500_000_000;

/// Messages that wait at most: only a daemon that is reloaded over and over has more to say.
const MAX_WAITING: usize = 8;

const STATUS: &str = "STATUS=";

/// The variables by which systemd says what it wants to hear.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `NOTIFY_SOCKET`.
    pub socket: Option<OsString>,
    /// `WATCHDOG_USEC`.
    pub watchdog_usec: Option<String>,
    /// `WATCHDOG_PID`.
    pub watchdog_pid: Option<String>,
}

impl Environment {
    /// This process's own.
    #[must_use]
    pub fn read() -> Self {
        Self {
            socket: env::var_os("NOTIFY_SOCKET"),
            watchdog_usec: env::var("WATCHDOG_USEC").ok(),
            watchdog_pid: env::var("WATCHDOG_PID").ok(),
        }
    }

    /// Half of what systemd waits for a ping, where it waits for one of this process or of its parent, which it started.
    fn ping_every(&self) -> Option<Duration> {
        let micros: u64 = self
            .watchdog_usec
            .as_ref()?
            .parse()
            .ok()
            .filter(|usec| *usec > 0)?;
        let ours = self.watchdog_pid.as_ref().is_none_or(|pid| {
            let is = |ours: rustix::process::Pid| pid.parse() == Ok(ours.as_raw_nonzero().get());
            is(getpid()) || getppid().is_some_and(is)
        });
        ours.then(|| Duration::from_micros(micros / 2))
    }
}

/// Speaks to systemd.
#[derive(Debug)]
pub struct Notifier {
    /// `None` where nobody wants to hear.
    way: Option<(UnixDatagram, SocketAddr)>,
    waiting: VecDeque<String>,
    retry_at: BootTime,
    /// Nanoseconds between two pings.
    ping_every: Option<u64>,
    ping_at: BootTime,
}

impl Notifier {
    /// Speaks to whom `environment` names.
    ///
    /// # Errors
    /// Where that is no address of a socket, or the kernel refuses one.
    pub fn new(environment: &Environment) -> io::Result<Self> {
        let way = match &environment.socket {
            Some(name) if !name.is_empty() => Some((socket()?, address(name)?)),
            _ => None,
        };
        let ping_every = environment.ping_every().filter(|_| way.is_some());
        Ok(Self {
            way,
            waiting: VecDeque::new(),
            retry_at: BootTime(0),
            ping_every: ping_every.map(clock::whole_nanos),
            ping_at: BootTime(0),
        })
    }

    /// Ready, also after reloading.
    pub fn ready(&mut self, status: &str, now: BootTime) {
        self.tell(format!("READY=1\n{}", status_line(status)), now);
    }

    /// What is going on, in one line.
    pub fn status(&mut self, status: &str, now: BootTime) {
        self.tell(status_line(status), now);
    }

    /// Reloading; [`Self::ready`] ends it.
    pub fn reloading(&mut self, now: BootTime) {
        let monotonic = clock_gettime(ClockId::Monotonic);
        let micros = i128::from(monotonic.tv_sec) * 1_000_000 + i128::from(monotonic.tv_nsec) / 1_000;
        self.tell(format!("RELOADING=1\nMONOTONIC_USEC={micros}\n"), now);
    }

    /// Stopping.
    pub fn stopping(&mut self, now: BootTime) {
        self.tell("STOPPING=1\n".to_owned(), now);
    }

    /// Pings the watchdog and sends again what waits, where [`Self::next_due`] has come. To be called from the event loop
    /// itself.
    pub fn tick(&mut self, now: BootTime) {
        if let Some(every) = self.ping_every.filter(|_| self.ping_at <= now) {
            let pause = match self.send("WATCHDOG=1\n") {
                Ok(()) => every,
                Err(_) => every / 8,
            };
            self.ping_at = now.plus(pause);
        }
        if self.retry_at <= now {
            self.send_waiting(now);
        }
    }

    /// When to call [`Self::tick`] next.
    #[must_use]
    pub fn next_due(&self) -> Option<BootTime> {
        let ping = self.ping_every.map(|_| self.ping_at);
        let retry = (!self.waiting.is_empty()).then_some(self.retry_at);
        ping.into_iter().chain(retry).min()
    }

    fn tell(&mut self, message: String, now: BootTime) {
        if self.way.is_none() {
            return;
        }
        // A status is out of date once there is a newer one; that the daemon is ready never is.
        self.waiting.retain(|earlier| !earlier.starts_with(STATUS));
        if self.waiting.len() == MAX_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(message);
        self.send_waiting(now);
    }

    fn send_waiting(&mut self, now: BootTime) {
        while let Some(message) = self.waiting.front() {
            if let Err(error) = self.send(message) {
                log::debug!("systemd takes no notification: {error}");
                self.retry_at = now.plus(RETRY_AFTER);
                return;
            }
            self.waiting.pop_front();
        }
    }

    fn send(&self, message: &str) -> io::Result<()> {
        if let Some((socket, address)) = &self.way {
            socket.send_to_addr(message.as_bytes(), address)?;
        }
        Ok(())
    }
}

fn socket() -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A path, or a name in the abstract namespace behind `@`.
fn address(name: &OsString) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// One line whatever the text is.
fn status_line(status: &str) -> String {
    format!("{STATUS}{}\n", escape_line(status))
}

#[cfg(test)]
mod tests {
    use tempfile::{TempDir, tempdir};

    use super::*;

    const MS: u64 = 1_000_000;

    fn listener() -> (TempDir, UnixDatagram, Environment) {
        let directory = tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let environment = Environment {
            socket: Some(path.into()),
            ..Environment::default()
        };
        (directory, socket, environment)
    }

    fn heard(socket: &UnixDatagram) -> Vec<String> {
        let mut bytes = [0; 1024];
        let next = || {
            socket
                .recv(&mut bytes)
                .ok()
                .map(|length| bytes[..length].to_vec())
        };
        std::iter::from_fn(next)
            .map(|bytes| String::from_utf8(bytes).unwrap())
            .collect()
    }

    #[test]
    fn systemd_hears_of_every_step() {
        let (_directory, socket, environment) = listener();
        let mut notifier = Notifier::new(&environment).unwrap();
        notifier.ready("watching 2 VMs\nSTOPPING=1", BootTime(0));
        notifier.reloading(BootTime(0));
        notifier.status("ok", BootTime(0));
        notifier.stopping(BootTime(0));
        let heard = heard(&socket);
        assert_eq!(heard[0], "READY=1\nSTATUS=watching 2 VMs\\x0aSTOPPING=1\n");
        let micros = heard[1].strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(micros.trim_end().parse::<u64>().unwrap() > 0);
        assert_eq!(heard[2..], ["STATUS=ok\n", "STOPPING=1\n"]);
        assert_eq!(notifier.next_due(), None);
    }

    #[test]
    fn an_abstract_socket_is_named_behind_an_at_sign() {
        let name = format!("ldrscope-test-{}", getpid().as_raw_nonzero());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        socket.set_nonblocking(true).unwrap();
        let environment = Environment {
            socket: Some(format!("@{name}").into()),
            ..Environment::default()
        };
        Notifier::new(&environment).unwrap().status("ok", BootTime(0));
        assert_eq!(heard(&socket), ["STATUS=ok\n"]);
    }

    #[test]
    fn without_a_socket_nothing_happens_and_a_wrong_one_is_an_error() {
        let environment = Environment {
            watchdog_usec: Some("1000000".to_owned()),
            ..Environment::default()
        };
        let mut notifier = Notifier::new(&environment).unwrap();
        notifier.ready("ok", BootTime(0));
        notifier.tick(BootTime(0));
        assert_eq!(notifier.next_due(), None);
        let wrong = Environment {
            socket: Some("vsock:2:1".into()),
            ..Environment::default()
        };
        assert!(Notifier::new(&wrong).is_err());
    }

    #[test]
    fn the_watchdog_is_pinged_twice_in_its_time_if_it_waits_for_us_or_our_parent() {
        let (_directory, socket, mut environment) = listener();
        environment.watchdog_usec = Some("2000000".to_owned());
        let parent = getppid().map_or(1, |pid| pid.as_raw_nonzero().get());
        for (pid, ours) in [
            (None, true),
            (Some(getpid().as_raw_nonzero().get()), true),
            (Some(parent), true),
            (Some(parent + 1), parent + 1 == getpid().as_raw_nonzero().get()),
        ] {
            environment.watchdog_pid = pid.map(|pid| pid.to_string());
            let mut notifier = Notifier::new(&environment).unwrap();
            assert_eq!(notifier.next_due(), ours.then_some(BootTime(0)), "{pid:?}");
            for tenth in 0..20 {
                notifier.tick(BootTime(tenth * 100 * MS));
            }
            let pings = if ours { 2 } else { 0 };
            assert_eq!(heard(&socket), vec!["WATCHDOG=1\n"; pings], "{pid:?}");
        }
    }

    #[test]
    fn a_systemd_that_does_not_listen_hears_the_latest_later() {
        let (directory, socket, environment) = listener();
        let mut notifier = Notifier::new(&environment).unwrap();
        let path = directory.path().join("notify");
        std::fs::remove_file(&path).unwrap();
        notifier.ready("0", BootTime(0));
        for number in 1..20 {
            notifier.status(&number.to_string(), BootTime(0));
        }
        assert!(heard(&socket).is_empty());
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let due = notifier.next_due().unwrap();
        assert_eq!(due, BootTime(500 * MS));
        notifier.tick(due);
        assert_eq!(heard(&socket), ["READY=1\nSTATUS=0\n", "STATUS=19\n"]);
        assert_eq!(notifier.next_due(), None);
    }
}
