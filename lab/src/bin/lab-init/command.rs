//! Runs the command of the order and waits for it, reaping on the way whatever else ends, as PID 1 must.

use std::{os::unix::process::CommandExt as _, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};
use lab_protocol::{Order, Report, port};
use rustix::{
    io::Errno,
    process::{Pid, WaitOptions, WaitStatus, ioctl_tiocsctty, setsid, wait},
    stdio::stdin,
};

use crate::ports::Streams;

/// Starts the command on `streams`, tells it where to leave `results`, and returns its end.
pub(crate) fn run(order: &Order, streams: Streams, results: &Path) -> Result<Report> {
    let Some((program, arguments)) = order.argv.split_first() else {
        bail!("the order names no command");
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(&order.environment)
        .env(port::RESULTS_VARIABLE, results)
        .current_dir(&order.cwd)
        .stdin(streams.input)
        .stdout(streams.output)
        .stderr(streams.error);
    let terminal = streams.terminal;
    // SAFETY: the closure runs between fork and exec and makes two system calls, both async-signal-safe; it allocates
    // nothing and touches no lock.
    unsafe { command.pre_exec(move || own_session(terminal)) };
    let child = command.spawn().with_context(|| {
        format!(
            "cannot run {program:?} in {:?}; is it on the lab's PATH?",
            order.cwd
        )
    })?;
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .context("the kernel gave an odd process id")?;
    wait_for(pid)
}

/// A session of its own, and the terminal to control it if there is one.
fn own_session(terminal: bool) -> std::io::Result<()> {
    setsid()?;
    if terminal {
        ioctl_tiocsctty(stdin())?;
    }
    Ok(())
}

fn wait_for(command: Pid) -> Result<Report> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == command => return Ok(end_of(status)),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for the command"),
        }
    }
}

fn end_of(status: WaitStatus) -> Report {
    let byte = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Report::Exited(byte(code)),
        (None, Some(signal)) => Report::Signalled(byte(signal)),
        (None, None) => Report::Failed("the command neither exited nor was killed".to_owned()),
    }
}
