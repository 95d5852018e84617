//! The suite: cases run one after the other in a worker process and are reported line by line over the lab's
//! results channel. A case that hangs or dies fails alone: the worker and all its children are killed, and a new
//! worker goes on with the next case.

use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use lab_protocol::{CaseLine, Scale, Verdict, port};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::cases::{Bench, Case};
use crate::reap;

/// No case may take longer, waiting included, on a machine that does other things too.
const fn limit_at(scale: Scale) -> Duration {
    match scale {
        Scale::Test => Duration::from_secs(400),
        Scale::Soak => Duration::from_secs(3600),
    }
}

/// Where results go: the lab's results channel, or stdout outside the lab.
pub fn results() -> io::Result<Box<dyn Write>> {
    match std::env::var_os(port::RESULTS_VARIABLE) {
        Some(path) => Ok(Box::new(OpenOptions::new().append(true).open(path)?)),
        None => Ok(Box::new(io::stdout())),
    }
}

/// Runs `cases` of the boot called `boot` at `scale` in order in workers and reports each to `results`. Returns how many did not
/// pass.
pub fn run(cases: &[Case], boot: &str, scale: Scale, results: &mut dyn Write) -> io::Result<usize> {
    let limit = limit_at(scale);
    let mut failed = 0;
    let mut left = cases;
    let mut worker = None;
    while let [case, rest @ ..] = left {
        let running = match worker.take() {
            Some(running) => running,
            None => Worker::start(left, boot, scale)?,
        };
        report(results, &CaseLine::Started(case.name.clone()))?;
        let verdict = match running.verdict(&case.name, limit) {
            Some(verdict) => {
                worker = Some(running);
                verdict
            }
            None => Verdict::Failed(format!("dead, or not done after {} s", limit.as_secs())),
        };
        if !matches!(verdict, Verdict::Passed(_)) {
            failed += 1;
        }
        report(results, &CaseLine::Ended(case.name.clone(), verdict))?;
        left = rest;
    }
    report(results, &CaseLine::SuiteDone)?;
    Ok(failed)
}

/// The worker's side: runs `cases` in order and reports each to `out`, and failures for a person to stderr as well. Returns how
/// many did not pass.
pub fn work(cases: &[&Case], out: &mut dyn Write) -> io::Result<usize> {
    let mut failed = 0;
    let mut bench = Bench::default();
    for case in cases {
        report(out, &CaseLine::Started(case.name.clone()))?;
        let start = Instant::now();
        let verdict = match case.run(&mut bench) {
            Ok(()) => Verdict::Passed(u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)),
            Err(error) => {
                failed += 1;
                let account = error.to_string();
                writeln!(io::stderr(), "{}: {account}", case.name)?;
                Verdict::Failed(account)
            }
        };
        report(out, &CaseLine::Ended(case.name.clone(), verdict))?;
    }
    Ok(failed)
}

fn report(results: &mut dyn Write, line: &CaseLine) -> io::Result<()> {
    writeln!(results, "{line}")?;
    results.flush()
}

/// A process that works through cases (`lab-case run`) and leads a process group of its own, killed when dropped.
struct Worker {
    child: Child,
    lines: Receiver<CaseLine>,
}

impl Worker {
    fn start(cases: &[Case], boot: &str, scale: Scale) -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["run", "--boot", boot, "--scale", scale.name()])
            .args(cases.iter().map(|case| &case.name))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let (sender, lines) = channel();
        let stdout = child.stdout.take();
        thread::spawn(move || {
            let lines = stdout
                .into_iter()
                .flat_map(|stdout| BufReader::new(stdout).lines());
            for line in lines.map_while(Result::ok).filter_map(|line| line.parse().ok()) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, lines })
    }

    /// Waits for the verdict on the case `name`; `None` if the worker died or took longer than `limit`.
    fn verdict(&self, name: &str, limit: Duration) -> Option<Verdict> {
        let deadline = Instant::now() + limit;
        loop {
            match self
                .lines
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
                .ok()?
            {
                CaseLine::Ended(ended, verdict) if ended == name => return Some(verdict),
                _ => {}
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Its children must not reach into the next case; no group left is fine.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        reap::kill(&mut self.child);
    }
}
