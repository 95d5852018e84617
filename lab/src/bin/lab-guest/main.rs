//! PID 1 of the Linux guest that runs under the lab's KVM: carries out what a case asks for over a serial port, one request
//! after the other, through however many kernels that takes.
//!
//! This file owns the conversation; what CPUs do is [`cpus`]'s, which kernel comes next [`kernels`]'s, the port [`port`]'s.

mod cpus;
mod kernels;
mod port;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use lab::linux_guest::talk::{Reply, Request, State};
use rustix::mount::{MountFlags, mount};
use rustix::system::uname;

use crate::port::Port;

/// Left by a crashed kernel for the one that its crash booted.
const CRASHED_KERNELS_MEMORY: &str = "/proc/vmcore";

fn main() {
    if let Err(error) = converse() {
        say_on_console(&format!("lab-guest: {error:#}"));
    }
    // The end of PID 1 is a panic, which the case sees as a guest that came back without being asked to.
}

fn converse() -> Result<()> {
    for (kind, at) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        mount(kind, at, kind, MountFlags::empty(), None).with_context(|| format!("cannot mount {at}"))?;
    }
    let mut port = Port::open()?;
    port.say(&tell())?;
    loop {
        let reply = match carry_out(port.hear()?) {
            Ok(()) => tell(),
            Err(error) => Reply::Failed(format!("{error:#}")),
        };
        port.say(&reply)?;
    }
}

/// Comes back only from a request that leaves this kernel running.
fn carry_out(request: Request) -> Result<()> {
    match request {
        Request::Tell => Ok(()),
        Request::Offline(cpu) => cpus::set_online(cpu, false),
        Request::Online(cpu) => cpus::set_online(cpu, true),
        Request::LoadNext => kernels::load_next(),
        Request::LoadCrash => kernels::load_crash(),
        Request::Kexec => kernels::jump(),
        Request::Reboot => kernels::reboot(),
        Request::Crash(cpu) => kernels::crash_on(cpu),
    }
}

fn tell() -> Reply {
    let state = || -> Result<State> {
        Ok(State {
            boot: read("/proc/sys/kernel/random/boot_id")?,
            release: uname().release().to_string_lossy().into_owned(),
            after_crash: Path::new(CRASHED_KERNELS_MEMORY).exists(),
            cpus: cpus::online()?,
        })
    };
    match state() {
        Ok(state) => Reply::State(state),
        Err(error) => Reply::Failed(format!("{error:#}")),
    }
}

/// A small text file, without the white space around it.
fn read(path: &str) -> Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    Ok(text.trim().to_owned())
}

#[expect(
    clippy::print_stderr,
    reason = "where the port does not work, the kernel's console is all there is"
)]
fn say_on_console(sentence: &str) {
    eprintln!("{sentence}");
}
