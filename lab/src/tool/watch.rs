//! A running `ldrscope watch --format jsonl`: a reader thread hands its lines over, and a case waits for states
//! or for silence. A broken line ends the case at once. Dropping it kills the child.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{Hooks, PATIENCE, Standing, ToolError, command, start};
use crate::contract::{Event, EventKind, Line, Severity, Status, parse_line};
use crate::guest::Guest;
use crate::guest::lapic::{ApicReg, DFR_FLAT, SVR_ENABLED, ldr};
use crate::outside::process;
use crate::reap;

/// A running `watch` and all that it said.
#[derive(Debug)]
pub struct Watch {
    child: Child,
    lines: Receiver<String>,
    stderr: Arc<Mutex<String>>,
    events: Vec<Event>,
    statuses: Vec<Status>,
    standing: Standing,
}

impl Watch {
    /// Starts `ldrscope watch --format jsonl` with further arguments and returns at once.
    pub fn start(hooks: Hooks, args: &[&str]) -> Result<Self, ToolError> {
        let fixed = ["watch", "--format", "jsonl", "--hooks", hooks.word()];
        let mut child = start(&mut command(&[&fixed, args].concat()))?;
        let (sender, lines) = channel();
        if let Some(stdout) = child.stdout.take() {
            thread::spawn(move || forward(stdout, &sender));
        }
        let stderr = Arc::new(Mutex::new(String::new()));
        if let Some(pipe) = child.stderr.take() {
            let log = Arc::clone(&stderr);
            thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    if let Ok(mut log) = log.lock() {
                        log.push_str(&line);
                        log.push('\n');
                    }
                }
            });
        }
        Ok(Self {
            child,
            lines,
            stderr,
            events: Vec::new(),
            statuses: Vec::new(),
            standing: Standing::default(),
        })
    }

    /// Starts `watch` and returns once it is known to see and to speak: a beacon guest with a collision was raised,
    /// ended, and cleared. What the beacon brought is forgotten. No other VM may have findings meanwhile.
    pub fn ready(hooks: Hooks) -> Result<Self, ToolError> {
        Self::ready_with(hooks, &[])
    }

    /// Like [`Self::ready`], with further arguments.
    pub fn ready_with(hooks: Hooks, args: &[&str]) -> Result<Self, ToolError> {
        let mut watch = Self::start(hooks, args)?;
        let beacon = Guest::with_vcpus(2)?;
        for id in 0..2 {
            beacon.edit_lapic(
                id,
                &[
                    (ApicReg::Dfr, DFR_FLAT),
                    (ApicReg::Ldr, ldr(1)),
                    (ApicReg::Svr, SVR_ENABLED),
                ],
            )?;
        }
        let start_up = 2 * PATIENCE;
        watch.wait_for("the beacon's findings are raised", start_up, |standing| {
            !standing.is_empty()
        })?;
        drop(beacon);
        watch.wait_for("the beacon's findings are cleared", PATIENCE, Standing::is_empty)?;
        watch.forget();
        Ok(watch)
    }

    /// Waits until it has said on standard error that it watches: everything is attached, and the VMs that there are have
    /// been read.
    pub fn wait_until_it_watches(&mut self, limit: Duration) -> Result<(), ToolError> {
        const BETWEEN: Duration = Duration::from_millis(20);
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if self.stderr().contains("watching ") {
                return Ok(());
            }
            thread::sleep(BETWEEN);
        }
        self.require(false, "it should watch by now")
    }

    /// Forgets what was said so far; what stands still stands.
    pub fn forget(&mut self) {
        self.events.clear();
        self.statuses.clear();
    }

    /// Waits until the standing findings satisfy `holds`.
    pub fn wait_for(
        &mut self,
        what: &str,
        limit: Duration,
        holds: impl Fn(&Standing) -> bool,
    ) -> Result<(), ToolError> {
        self.wait_until(what, limit, |watch| holds(&watch.standing))
    }

    /// Waits for an event after the first `seen` ones.
    pub fn wait_for_event(
        &mut self,
        what: &str,
        seen: usize,
        matches: impl Fn(&Event) -> bool,
    ) -> Result<Event, ToolError> {
        let find = |watch: &Self| {
            watch
                .events
                .iter()
                .skip(seen)
                .find(|event| matches(event))
                .cloned()
        };
        self.wait_until(what, PATIENCE, |watch| find(watch).is_some())?;
        find(self).ok_or_else(|| ToolError::NotSilent("an event that vanished".to_owned()))
    }

    /// Waits for a status line.
    pub fn wait_for_status(
        &mut self,
        what: &str,
        matches: impl Fn(&Status) -> bool,
    ) -> Result<(), ToolError> {
        self.wait_for_status_within(what, PATIENCE, matches)
    }

    /// Waits for a status line, for at most `limit`.
    pub fn wait_for_status_within(
        &mut self,
        what: &str,
        limit: Duration,
        matches: impl Fn(&Status) -> bool,
    ) -> Result<(), ToolError> {
        self.wait_until(what, limit, |watch| watch.statuses.iter().any(&matches))
    }

    /// Holds that no event arrives for `time`.
    pub fn assert_silent_for(&mut self, time: Duration) -> Result<(), ToolError> {
        let seen = self.events.len();
        self.take_lines_for(time)?;
        match self.events.get(seen) {
            None => Ok(()),
            Some(event) => Err(ToolError::NotSilent(format!(
                "{}; in all:\n{}",
                describe(event),
                self.transcript()
            ))),
        }
    }

    /// Takes in whatever comes within `time`.
    pub fn take_lines_for(&mut self, time: Duration) -> Result<(), ToolError> {
        let deadline = Instant::now() + time;
        while self.take_line(deadline)? {}
        Ok(())
    }

    /// All events so far, oldest first.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// All status lines so far, oldest first.
    pub fn statuses(&self) -> &[Status] {
        &self.statuses
    }

    /// Its processes: the one that was started and holds what is attached, then the one that reads.
    pub fn processes(&self) -> Result<[u32; 2], ToolError> {
        let pid = self.child.id();
        match process::children(pid).map_err(ToolError::child("find the processes of"))?[..] {
            [reader] => Ok([pid, reader]),
            ref children => Err(ToolError::Contract(format!(
                "one process should be between it and its end, {children:?} are"
            ))),
        }
    }

    /// The findings that stand.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// The worst severity that any event so far carried, other than by clearing.
    pub fn worst(&self) -> Option<Severity> {
        self.events
            .iter()
            .filter(|e| e.event != EventKind::Cleared)
            .map(|e| e.finding.severity)
            .max()
    }

    /// What the child wrote to stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().map(|log| log.clone()).unwrap_or_default()
    }

    /// A transcript for a person: every event and status, then stderr.
    pub fn transcript(&self) -> String {
        let events = self.events.iter().map(|event| format!("  {}\n", describe(event)));
        let statuses = self.statuses.iter().map(|status| {
            format!(
                "  {:?} {:?} records {:?}\n",
                status.status, status.vm, status.records
            )
        });
        let stderr = self.stderr();
        events
            .chain(statuses)
            .chain(stderr.lines().map(|line| format!("  stderr: {line}\n")))
            .collect()
    }

    /// An error with the transcript unless `holds`.
    pub fn require(&self, holds: bool, what: &str) -> Result<(), ToolError> {
        if holds {
            return Ok(());
        }
        Err(ToolError::Unmet {
            what: what.to_owned(),
            transcript: self.transcript(),
        })
    }

    /// Sends the child a signal.
    pub fn signal(&self, signal: Signal) -> Result<(), ToolError> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).map_err(|errno| ToolError::child("signal")(errno.into()))
    }

    /// Waits for the child to end by itself.
    pub fn wait_for_exit(&mut self) -> Result<ExitStatus, ToolError> {
        let ended = reap::wait_at_most(&mut self.child, PATIENCE).map_err(ToolError::child("wait for"))?;
        ended.ok_or_else(|| ToolError::StillRunning {
            args: "watch".to_owned(),
            seconds: PATIENCE.as_secs(),
            stderr: self.stderr(),
        })
    }

    fn wait_until(
        &mut self,
        what: &str,
        limit: Duration,
        holds: impl Fn(&Self) -> bool,
    ) -> Result<(), ToolError> {
        let deadline = Instant::now() + limit;
        while !holds(self) {
            if !self.take_line(deadline)? {
                let state = format!("what came:\n{}", self.transcript());
                return Err(ToolError::NotSeen {
                    what: what.to_owned(),
                    seconds: limit.as_secs(),
                    state,
                });
            }
        }
        Ok(())
    }

    /// Takes in the next line; false once `deadline` has passed.
    fn take_line(&mut self, deadline: Instant) -> Result<bool, ToolError> {
        let line = match self
            .lines
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => return Ok(false),
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.wait_for_exit()?.to_string();
                return Err(ToolError::Ended {
                    status,
                    stderr: self.stderr(),
                });
            }
        };
        match parse_line(&line).map_err(|error| ToolError::Contract(error.to_string()))? {
            Line::Event(event) => {
                self.standing
                    .apply(&event)
                    .map_err(|error| ToolError::Contract(error.to_string()))?;
                self.events.push(event);
            }
            Line::Status(status) => self.statuses.push(status),
        }
        Ok(true)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        reap::kill(&mut self.child);
    }
}

fn forward(stdout: ChildStdout, sender: &Sender<String>) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        if sender.send(line).is_err() {
            break;
        }
    }
}

fn describe(event: &Event) -> String {
    let finding = &event.finding;
    let slots: Vec<_> = finding
        .slots
        .iter()
        .map(|slot| (slot.cluster, slot.bit))
        .collect();
    format!(
        "{:?} {:?} {:?} pid {} slots {slots:?} vcpus {:?} suspected {} effect {:?} cause {:?} | {}",
        event.event,
        finding.severity,
        finding.rule,
        event.vm.pid,
        finding.vcpus,
        finding.suspected,
        finding.effect,
        finding.cause,
        finding.summary
    )
}
