//! PID 1 of the lab: turns a freshly booted kernel into a KVM host, runs one command in it, reports its status, powers off.
//!
//! Where systemd is to be PID 1, the first half is done as PID 1, the second as a service of systemd's.
//!
//! This file owns the order of the steps; each step is a module of its own. What to do comes from the
//! [`Order`] in the initramfs, how it went leaves through the report port. Judging that is left to
//! `cargo xtask lab`, on the outer machine.

mod command;
mod modules;
mod mounts;
mod ports;
mod reporter;
mod systemd;
mod userland;

use anyhow::{Context as _, Result};
use lab_protocol::{Order, Report, Userland, order};
use rustix::{
    process::getpid,
    system::{RebootCommand, reboot},
};

use crate::reporter::Reporter;

fn main() {
    let done = if getpid().is_init() {
        prepare_and_run()
    } else {
        match systemd::taken_over() {
            Ok(order) => run_under_systemd(&order),
            // Not in a lab: nothing that is ours to power off.
            Err(error) => return say_on_console(&format!("lab-init: {error:#}")),
        }
    };
    if let Err(error) = done {
        say_on_console(&format!("lab-init: {error:#}"));
    }
    if let Err(error) = reboot(RebootCommand::PowerOff) {
        say_on_console(&format!("lab-init: cannot power the lab off: {error}"));
    }
}

/// Everything between the kernel's hand-over and power-off. An error that comes back could not be reported through
/// the port, since there is none yet.
fn prepare_and_run() -> Result<()> {
    mounts::initramfs().context("cannot mount the initramfs's own file systems")?;
    let bytes = std::fs::read(order::PATH).with_context(|| format!("cannot read {}", order::PATH))?;
    let order = Order::from_json(&bytes).with_context(|| format!("{} is not an order", order::PATH))?;
    modules::load(&order.transport_modules)?;
    let reporter = Reporter::open()?;

    let report = match host(&order).and_then(|()| command(&order, &reporter)) {
        Ok(report) => report,
        Err(error) => Report::Failed(format!("{error:#}")),
    };
    reporter.send(&report)
}

/// The second half, where systemd runs this program as a service.
fn run_under_systemd(order: &Order) -> Result<()> {
    let reporter = Reporter::open()?;
    let report = match run_command(order, &reporter) {
        Ok(report) => report,
        Err(error) => Report::Failed(format!("{error:#}")),
    };
    reporter.send(&report)
}

/// Makes the machine a KVM host with the userland that was ordered.
fn host(order: &Order) -> Result<()> {
    userland::bring_up_loopback()?;
    modules::load(&order.kvm_modules)?;
    userland::enter(order.userland, order.guest_kernel)?;
    if order.exchange {
        userland::share_exchange()?;
    }
    Ok(())
}

/// Runs the command on it, or hands it to systemd, which will run this program, which will run the command.
fn command(order: &Order, reporter: &Reporter) -> Result<Report> {
    match order.userland {
        Userland::Tiny | Userland::Host => run_command(order, reporter),
        Userland::Systemd => systemd::hand_over(order).map(|never| match never {}),
    }
}

fn run_command(order: &Order, reporter: &Reporter) -> Result<Report> {
    userland::set_limits()?;
    let streams = ports::Streams::open(order.terminal)?;
    let results = ports::device_of(lab_protocol::port::RESULTS)?;
    reporter.send(&Report::Booted)?;
    if let Some(seconds) = order.heartbeat_secs {
        reporter.beat_every(seconds)?;
    }
    command::run(order, streams, &results)
}

#[expect(
    clippy::print_stderr,
    reason = "before the report port is open, the kernel's console is all there is"
)]
fn say_on_console(sentence: &str) {
    eprintln!("{sentence}");
}
