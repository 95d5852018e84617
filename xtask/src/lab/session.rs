//! One run of the lab, from the order to the command's status.
//!
//! Threads carry the ports' bytes into one queue of events; this file alone follows it to the run's end. What PID 1 is
//! ordered is [`super::order`]'s, what is overdue when is [`super::standing`]'s.

use std::{
    io::{self, BufRead as _, BufReader, Write},
    os::unix::net::UnixStream,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Result;
use lab_protocol::{CaseLine, Report};

use super::{
    Host,
    console::{self, Log},
    image,
    outcome::LabError,
    qemu::{Ports, Qemu},
    standing::{End, Limits, Standing},
    streams::{Carried, Input},
};
use crate::{build::Binaries, kernels::Kernel, paths, progress};

/// What a broken kernel may still say before QEMU is ended.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Everything that a run needs.
#[derive(Debug)]
pub(crate) struct Session {
    /// The machine.
    pub(crate) host: Host,
    /// Its kernel, from the cache.
    pub(crate) kernel: Kernel,
    /// What goes on the command's PATH.
    pub(crate) binaries: Binaries,
    /// The command.
    pub(crate) argv: Vec<String>,
    /// Its working directory in the host userland.
    pub(crate) directory: String,
    /// The time it may take once it runs.
    pub(crate) timeout: Option<Duration>,
}

/// Where the command's output goes.
pub(crate) struct Channels {
    /// Standard output.
    pub(crate) output: Box<dyn Write + Send>,
    /// Standard error.
    pub(crate) error: Box<dyn Write + Send>,
    /// Lines for the results port; those that are none are passed over.
    pub(crate) on_case: Box<dyn FnMut(CaseLine)>,
}

impl Channels {
    /// To xtask's own streams. Case lines are for whoever reads along: they go to standard error as they are.
    pub(crate) fn to_standard_streams() -> Self {
        Self {
            output: Box::new(io::stdout()),
            error: Box::new(io::stderr()),
            on_case: Box::new(|line| progress::quote(&line.to_string())),
        }
    }
}

/// What the threads tell.
enum Event {
    Reported(Report),
    Case(CaseLine),
    Trouble(String),
    ConsoleClosed,
}

impl Session {
    /// Boots, runs the command, and returns its status: 128 and the signal if one killed it, as shells have it.
    pub(crate) fn run(&self, input: Input, channels: Channels) -> Result<u8, LabError> {
        let prepare = || -> Result<_> {
            let order = self.order(input);
            let initramfs = image::write(
                &self.kernel,
                &self.binaries,
                self.host.guest_kernel.as_deref(),
                &order,
            )?;
            let directory = paths::target().join("lab");
            let (log, file) = Log::create(&directory, self.kernel.series().name())?;
            let (qemu, ports) = Qemu::start(&self.host, &self.kernel, &initramfs, input == Input::Terminal)?;
            Ok((log, file, qemu, ports))
        };
        let (mut log, file, mut qemu, ports) = prepare().map_err(LabError::NotStarted)?;

        let Channels {
            output,
            error,
            mut on_case,
        } = channels;
        let (sender, events) = mpsc::channel();
        let Ports {
            console,
            report,
            results,
            streams,
        } = ports;
        read_lines(report, &sender, |line| line.parse().ok().map(Event::Reported));
        let results = read_lines(results, &sender, |line| line.parse().ok().map(Event::Case));
        let watcher = watch_console(console, file, sender);
        let carried = Carried::start(streams, input, output, error).map_err(LabError::NotStarted)?;

        let verdict = self.judge(&events, &mut on_case);
        qemu.stop();
        // All that the command wrote was taken by QEMU before its end was reported: the sockets hold the rest.
        for thread in carried.finish().into_iter().chain([watcher, results]) {
            let _ = thread.join();
        }
        for event in events.try_iter() {
            if let Event::Case(line) = event {
                on_case(line);
            }
        }
        verdict.map_err(|end| end.with_log(&mut log))
    }

    /// Follows the run's events to its end.
    fn judge(&self, events: &Receiver<Event>, on_case: &mut dyn FnMut(CaseLine)) -> Result<u8, End> {
        let limits = Limits::new(self.host.counts_instructions, self.timeout);
        let mut run = Standing::new(limits, Instant::now());
        let mut booting = Some(progress::waiting(
            "lab",
            format_args!("kernel {} to boot", self.kernel.series()),
        ));
        loop {
            let event = match events.recv_timeout(run.patience(Instant::now())) {
                Ok(event) => event,
                Err(RecvTimeoutError::Timeout) => match run.overdue(Instant::now()) {
                    Some(end) => return Err(end),
                    None => continue,
                },
                // QEMU is gone and every port has been read to its end.
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(run.broke("QEMU ended without a word from PID 1".to_owned()));
                }
            };
            run.alive(Instant::now());
            match event {
                Event::Reported(Report::Booted) => {
                    run.booted(Instant::now());
                    drop(booting.take());
                }
                Event::Reported(Report::Exited(status)) => return Ok(status),
                Event::Reported(Report::Signalled(signal)) => return Ok(signal.saturating_add(128)),
                Event::Reported(Report::Failed(sentence)) => return Err(run.failed(sentence)),
                Event::Reported(Report::Alive) => {}
                Event::Case(line) => on_case(line),
                Event::Trouble(line) => {
                    let end = run.broke(line);
                    await_last_words(events);
                    return Err(end);
                }
                // The console's reader may be ahead of the report port's, which holds the verdict.
                Event::ConsoleClosed => {}
            }
        }
    }
}

/// Lets a broken kernel finish its call trace, so that the log has it.
fn await_last_words(events: &Receiver<Event>) {
    let until = Instant::now() + LAST_WORDS;
    while let Ok(event) = events.recv_timeout(until.saturating_duration_since(Instant::now())) {
        if matches!(event, Event::ConsoleClosed) {
            return;
        }
    }
}

/// Sends what `parse` makes of each line of `port`.
fn read_lines(
    port: UnixStream,
    sender: &Sender<Event>,
    parse: impl Fn(&str) -> Option<Event> + Send + 'static,
) -> JoinHandle<()> {
    let sender = sender.clone();
    thread::spawn(move || {
        for event in BufReader::new(port)
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| parse(&line))
        {
            if sender.send(event).is_err() {
                return;
            }
        }
    })
}

fn watch_console(console: UnixStream, log: std::fs::File, sender: Sender<Event>) -> JoinHandle<()> {
    thread::spawn(move || {
        // Nobody listens any more once the verdict stands: the log is still completed.
        console::watch(console, log, |line| drop(sender.send(Event::Trouble(line))));
        drop(sender.send(Event::ConsoleClosed));
    })
}
