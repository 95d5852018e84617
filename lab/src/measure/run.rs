//! A run of ldrscope, each of whose lines is taken with its time.

use std::io::{BufRead, BufReader, Read};
use std::process::Child;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::cases::CaseError;
use crate::outside::process;
use crate::reap;
use crate::tool::{command, start};

/// A thousand VMs, in a lab that counts instructions.
const PATIENCE: Duration = Duration::from_secs(300);

/// A running ldrscope, killed when dropped.
pub(super) struct Run {
    child: Child,
    lines: Receiver<(Instant, String)>,
    started: Instant,
}

impl Run {
    /// Starts it with these arguments.
    pub(super) fn start(arguments: &[&str]) -> Result<Self, CaseError> {
        let started = Instant::now();
        let mut child = start(&mut command(arguments))?;
        let (sender, lines) = channel();
        if let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) {
            pass_on(stdout, sender.clone());
            pass_on(stderr, sender);
        }
        Ok(Self {
            child,
            lines,
            started,
        })
    }

    /// Starts `watch`, and returns once it watches, with the time that it took.
    pub(super) fn watching(arguments: &[&str]) -> Result<(Self, Duration), CaseError> {
        let run = Self::start(&[&["watch", "--format", "jsonl"], arguments].concat())?;
        let (_, took) = run.await_line(is_ready)?;
        Ok((run, took))
    }

    /// The next line that is `wanted`, with the time from the start until it came. Those before it are gone.
    pub(super) fn await_line(&self, wanted: impl Fn(&str) -> bool) -> Result<(String, Duration), CaseError> {
        let deadline = Instant::now() + PATIENCE;
        let mut last = String::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok((at, line)) = self.lines.recv_timeout(left) else {
                return Err(CaseError::Unmet(format!(
                    "ldrscope did not say what was waited for; the last that it said: {last:?}"
                )));
            };
            if wanted(&line) {
                return Ok((line, at - self.started));
            }
            last = line;
        }
    }

    /// All that comes until it ends, and the time that it took to end.
    pub(super) fn into_end(mut self) -> Result<(Vec<String>, Duration), CaseError> {
        let lines = self.lines.iter().map(|(_, line)| line).collect();
        // Its outputs are closed by its end, and not before all that was attached is gone.
        let ended = reap::wait_at_most(&mut self.child, PATIENCE)?;
        let took = self.started.elapsed();
        match ended {
            Some(status) if status.success() => Ok((lines, took)),
            other => Err(CaseError::Unmet(format!(
                "ldrscope ended with {other:?}: {lines:?}"
            ))),
        }
    }

    /// Its processes: the one that holds what is attached, and the one that reads.
    pub(super) fn processes(&self) -> Result<[u32; 2], CaseError> {
        let pid = self.child.id();
        match process::children(pid)?[..] {
            [reader] => Ok([pid, reader]),
            ref children => Err(CaseError::Unmet(format!(
                "ldrscope should have one child, has {children:?}"
            ))),
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        reap::kill(&mut self.child);
    }
}

/// Whether a line says that everything is attached, and that all VMs have been read.
pub(super) fn is_ready(line: &str) -> bool {
    line.contains("watching ") && line.contains(" on ")
}

/// What a line of the log says of a step: what it did, and how long that took in microseconds.
pub(super) fn step(line: &str) -> Option<(&str, u64)> {
    let (_, said) = line.split_once("debug: ")?;
    let (step, took) = said.split_once(" took ")?;
    Some((step, took.strip_suffix(" us")?.parse().ok()?))
}

fn pass_on(pipe: impl Read + Send + 'static, to: Sender<(Instant, String)>) {
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if to.send((Instant::now(), line)).is_err() {
                break;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::step;

    #[test]
    fn a_step_is_told_from_what_else_is_logged() {
        assert_eq!(
            step("ldrscope: debug: reading the kernel's types took 50719 us"),
            Some(("reading the kernel's types", 50_719))
        );
        assert_eq!(step("ldrscope: info: watching no VM yet on 6.12"), None);
        assert_eq!(step("ldrscope: debug: it took all day"), None);
    }
}
