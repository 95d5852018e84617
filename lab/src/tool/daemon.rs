//! A running `ldrscope serve`: its two processes, its endpoint, its files. Dropping it kills both.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::exposition::Exposition;
use super::{PATIENCE, ToolError, command};
use crate::contract::{Line, parse_line};
use crate::http;
use crate::outside::process;
use crate::reap;

/// Between two looks at something of the daemon's.
const POLL: Duration = Duration::from_millis(20);

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    broker: Child,
    /// Where it listens.
    pub address: SocketAddr,
    directory: PathBuf,
}

impl Daemon {
    /// Starts `serve` with its endpoint on `port` of the loopback, its event log in a directory of its own unless they name
    /// another, and further arguments, and returns at once.
    pub fn start(port: u16, args: &[&str]) -> Result<Self, ToolError> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("daemon-{}-{number}", std::process::id()));
        fs::create_dir_all(&directory).map_err(ToolError::child("make a directory for"))?;
        let stderr =
            fs::File::create(directory.join("stderr")).map_err(ToolError::child("open a log for"))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let events = directory.join("events").to_string_lossy().into_owned();
        let mut serve = command(&[&["serve", "--listen", &address.to_string()], args].concat());
        if !args.contains(&"--event-log") {
            serve.args(["--event-log", &events]);
        }
        let program = serve.get_program().to_owned();
        let broker = serve
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .map_err(|source| ToolError::Start { program, source })?;
        Ok(Self {
            broker,
            address,
            directory,
        })
    }

    /// Like [`Self::start`], and returns once it is up.
    pub fn ready(port: u16, args: &[&str]) -> Result<Self, ToolError> {
        let mut daemon = Self::start(port, args)?;
        daemon.wait_until("it is up", 3 * PATIENCE, |metrics| {
            metrics.value("ldrscope_up") == 1.0
        })?;
        Ok(daemon)
    }

    /// Waits until what it exposes satisfies `holds`, and returns that exposition.
    pub fn wait_until(
        &mut self,
        what: &str,
        limit: Duration,
        holds: impl Fn(&Exposition) -> bool,
    ) -> Result<Exposition, ToolError> {
        let deadline = Instant::now() + limit;
        loop {
            let scraped = self.scrape();
            match scraped {
                Ok(metrics) if holds(&metrics) => return Ok(metrics),
                scraped if Instant::now() >= deadline => {
                    return Err(ToolError::NotSeen {
                        what: what.to_owned(),
                        seconds: limit.as_secs(),
                        state: format!("{scraped:?}; its stderr: {}", self.stderr()),
                    });
                }
                _ => {}
            }
            if let Some(status) = self.broker.try_wait().map_err(ToolError::child("wait for"))? {
                return Err(ToolError::Ended {
                    status: status.to_string(),
                    stderr: self.stderr(),
                });
            }
            thread::sleep(POLL);
        }
    }

    /// What `/metrics` says now.
    pub fn scrape(&self) -> Result<Exposition, ToolError> {
        let response = http::get(self.address, "/metrics", PATIENCE).map_err(ToolError::child("scrape"))?;
        if response.status != 200 {
            return Err(ToolError::Contract(format!(
                "/metrics answers {}",
                response.status
            )));
        }
        Exposition::parse(&response.body).map_err(ToolError::Contract)
    }

    /// The privileged process.
    pub fn broker_pid(&self) -> u32 {
        self.broker.id()
    }

    /// The unprivileged process: the broker's only child.
    pub fn daemon_pid(&self) -> Result<u32, ToolError> {
        match process::children(self.broker_pid()).map_err(ToolError::child("find the child of"))?[..] {
            [only] => Ok(only),
            ref children => Err(ToolError::Contract(format!(
                "the broker should have one child, has {children:?}"
            ))),
        }
    }

    /// Sends a signal to the broker, whose process id is the service's.
    pub fn signal(&self, signal: Signal) -> Result<(), ToolError> {
        kill_process(Pid::from_child(&self.broker), signal)
            .map_err(|errno| ToolError::child("signal")(errno.into()))
    }

    /// Waits for the broker to end.
    pub fn wait_for_exit(&mut self) -> Result<ExitStatus, ToolError> {
        let ended = reap::wait_at_most(&mut self.broker, PATIENCE).map_err(ToolError::child("wait for"))?;
        ended.ok_or_else(|| ToolError::StillRunning {
            args: "serve".to_owned(),
            seconds: PATIENCE.as_secs(),
            stderr: self.stderr(),
        })
    }

    /// The path of its event log.
    pub fn event_log(&self) -> PathBuf {
        self.directory.join("events")
    }

    /// The lines of its event log so far. A line that is broken, or not whole, is an error.
    pub fn events(&self) -> Result<Vec<Line>, ToolError> {
        read_events(&self.event_log())
    }

    /// What it wrote to stderr so far.
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.directory.join("stderr")).unwrap_or_default()
    }
}

/// The lines of an event log.
pub fn read_events(path: &Path) -> Result<Vec<Line>, ToolError> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read.map_err(ToolError::child("read the event log of"))?,
    };
    text.lines()
        .map(|line| parse_line(line).map_err(|error| ToolError::Contract(error.to_string())))
        .collect()
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // The child dies with its parent.
        reap::kill(&mut self.broker);
    }
}
