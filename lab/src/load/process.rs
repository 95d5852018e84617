//! A load in a process of its own, as a VMM is one: started, driven and killed by a case.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use clap::ValueEnum;
use rustix::process::{Pid, Signal, kill_process};

use super::{Load, word};
use crate::reap;

/// Hundreds of vCPUs are made in that time under emulation, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(120);

/// A load that did not do as it was told.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It could not be started or spoken to.
    #[error("cannot {action} the load: {source}")]
    Process {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// It ended, or was too slow.
    #[error("the load said nothing where {0:?} was due; its stderr says why")]
    Silent(&'static str),
    /// It said something else.
    #[error("the load said {got:?} where {wanted:?} was due")]
    Nonsense {
        /// What was due.
        wanted: &'static str,
        /// What came.
        got: String,
    },
}

/// A running load, killed when dropped.
#[derive(Debug)]
pub struct LoadProcess {
    child: Child,
    orders: Option<ChildStdin>,
    answers: Receiver<String>,
}

impl LoadProcess {
    /// Starts `load` and returns once its guests stand.
    pub fn start(load: &Load) -> Result<Self, LoadError> {
        let this = std::env::current_exe().map_err(failed("find"))?;
        Self::start_as(load, &this, &[])
    }

    /// Like [`Self::start`], as `program`, which is a link to this one, and with more `words` on its command line: what
    /// a VMM of that kind would say about its VM.
    pub fn start_as(load: &Load, program: &Path, words: &[&OsStr]) -> Result<Self, LoadError> {
        let mut process = Self::begin(load, program, words)?;
        process.answer(word::READY)?;
        Ok(process)
    }

    /// Like [`Self::start_as`], but returns at once.
    pub fn begin(load: &Load, program: &Path, words: &[&OsStr]) -> Result<Self, LoadError> {
        let [vms, vcpus] = [load.vms, load.vcpus].map(|number| number.to_string());
        let mut child = Command::new(program)
            .args(["load", &name_of(load.kind), "--end", &name_of(load.end)])
            .args(["--vms", &vms, "--vcpus", &vcpus, "--"])
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed("start"))?;
        let (sender, answers) = channel();
        let stdout = child.stdout.take();
        thread::spawn(move || {
            let lines = stdout
                .into_iter()
                .flat_map(|stdout| BufReader::new(stdout).lines());
            for line in lines.map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            orders: child.stdin.take(),
            child,
            answers,
        })
    }

    /// Lets it go.
    pub fn go(&mut self) -> Result<(), LoadError> {
        self.order(word::START)
    }

    /// Stops it where it is, and returns how much it did.
    pub fn halt(&mut self) -> Result<u64, LoadError> {
        self.order(word::STOP)?;
        self.stopped()
    }

    /// Brings its guests, of a load that does not go, into their end state.
    pub fn settle(&mut self) -> Result<(), LoadError> {
        self.order(word::SETTLE)?;
        self.answer(word::SETTLED).map(drop)
    }

    /// Stops it, and returns how much it did once its guests are in their end state.
    pub fn stop(&mut self) -> Result<u64, LoadError> {
        let done = self.halt()?;
        self.settle()?;
        Ok(done)
    }

    /// Waits until it is through, and returns how much it did.
    pub fn finish(&mut self) -> Result<u64, LoadError> {
        self.order(word::FINISH)?;
        self.stopped()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends its process a signal.
    pub fn signal(&self, signal: Signal) -> Result<(), LoadError> {
        kill_process(Pid::from_child(&self.child), signal).map_err(|errno| failed("signal")(errno.into()))
    }

    fn stopped(&mut self) -> Result<u64, LoadError> {
        let count = self.answer(word::STOPPED)?;
        count.parse().map_err(|_| LoadError::Nonsense {
            wanted: "a count",
            got: count,
        })
    }

    fn order(&mut self, order: &str) -> Result<(), LoadError> {
        match &mut self.orders {
            Some(orders) => writeln!(orders, "{order}").map_err(failed("tell")),
            None => Ok(()),
        }
    }

    /// The rest of the line that begins with `wanted`.
    fn answer(&mut self, wanted: &'static str) -> Result<String, LoadError> {
        let line = self
            .answers
            .recv_timeout(PATIENCE)
            .map_err(|_| LoadError::Silent(wanted))?;
        match line.strip_prefix(wanted) {
            Some(rest) => Ok(rest.trim().to_owned()),
            None => Err(LoadError::Nonsense { wanted, got: line }),
        }
    }
}

impl Drop for LoadProcess {
    fn drop(&mut self) {
        reap::kill(&mut self.child);
    }
}

fn failed(action: &'static str) -> impl Fn(io::Error) -> LoadError {
    move |source| LoadError::Process { action, source }
}

fn name_of(value: impl ValueEnum) -> String {
    value
        .to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}
