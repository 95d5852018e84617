//! The daemon as two processes: what each may do, that neither outlives the other, and what they take up together.

use std::fs;
use std::thread;
use std::time::Instant;

use rustix::process::Signal;

use super::{ONE_SECOND, both_end, load, mostly_within, note, nothing_left_attached, shell};
use crate::cases::refusal::colliding;
use crate::cases::{Bench, CaseError, CaseResult, Context, require};
use crate::load::{End, Kind};
use crate::outside::attached::Attached;
use crate::outside::process::{Footprint, signal};
use crate::tool::{Daemon, Exposition, PATIENCE};

const PORT: u16 = 9761;
/// What both processes together may take up with a hundred VMs, in KiB.
const BOUND_KIB: u64 = 25 << 10;

/// Within a second of being ready, the process that reads hostile input may do nothing that any other may not.
pub(in crate::cases) fn unprivileged(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let daemon = Daemon::ready(PORT, &[])?;
    thread::sleep(ONE_SECOND);
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.daemon_pid()?))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.map(str::trim).unwrap_or_default().to_owned()
    };
    for (name, wanted) in [
        ("CapEff:", "0000000000000000"),
        ("CapPrm:", "0000000000000000"),
        ("CapInh:", "0000000000000000"),
        ("CapAmb:", "0000000000000000"),
        ("NoNewPrivs:", "1"),
        ("Seccomp:", "2"),
    ] {
        require(field(name) == wanted, || {
            format!("{name} should be {wanted}, is {}", field(name))
        })?;
    }
    Ok(())
}

/// Either process is killed: the other ends with it, nothing stays attached, and the port is free for the next one.
pub(in crate::cases) fn killed(context: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let before = Attached::settled()?;
    for number in 0..context.scaled(2, 20) {
        let mut daemon = Daemon::ready(PORT, &[])?;
        let both = [daemon.broker_pid(), daemon.daemon_pid()?];
        signal(both[number as usize % 2], Signal::KILL)?;
        daemon.wait_for_exit()?;
        both_end(both)?;
        nothing_left_attached(before)?;
    }
    Ok(())
}

/// A second one on the same port says so and ends; the first goes on.
pub(in crate::cases) fn port_taken(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let first = Daemon::ready(PORT, &[])?;
    let mut second = Daemon::start(PORT, &[])?;
    let status = second.wait_for_exit()?;
    let stderr = second.stderr();
    require(
        status.code().is_some_and(|code| code > 1) && stderr.contains(&first.address.to_string()),
        || format!("a port that is taken should be named and end it, ended it with {status}: {stderr}"),
    )?;
    require(first.scrape()?.value("ldrscope_up") == 1.0, || {
        "the first one should be up still".to_owned()
    })
}

/// A hundred VMs, a flight recorder, and both processes within their bound, also once that is full.
pub(in crate::cases) fn memory(_: &Context, bench: &mut Bench) -> CaseResult {
    const VMS: u32 = 100;
    /// The default of `recording-memory`.
    const FULL_KIB: u64 = 2048;
    bench.clear();
    let mut daemon = Daemon::ready(
        PORT,
        &[
            "--rate-limit",
            "off",
            "--recording-dir",
            "/tmp/recordings-of-many",
        ],
    )?;
    let _vms = load(Kind::Idle, VMS, 2, End::Colliding)?;
    daemon.wait_until("every VM's collision is counted", 3 * PATIENCE, |metrics| {
        metrics.sum("ldrscope_findings", &["rule=\"ldr-collision\""]) == f64::from(VMS)
    })?;
    for _ in 0..20 {
        daemon.scrape()?;
    }
    let footprint = Footprint::of_all(&[daemon.broker_pid(), daemon.daemon_pid()?])?;
    let held = daemon.scrape()?.value("ldrscope_flight_recorder_bytes") as u64 / 1024;
    let still_to_come = FULL_KIB.saturating_sub(held);
    note(&format!(
        "with {VMS} VMs: {footprint:?}, of which {held} KiB are recorded; {still_to_come} KiB may come"
    ))?;
    require(
        held > 0 && footprint.resident_kib + still_to_come <= BOUND_KIB,
        || {
            format!(
                "both should take up at most {BOUND_KIB} KiB, take up {footprint:?}, and {still_to_come} KiB may come"
            )
        },
    )
}

/// kvm goes and comes back: down and up again, in the metrics, within two seconds each.
pub(in crate::cases) fn reload(context: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let start = Instant::now();
    let mut daemon = Daemon::ready(PORT, &[])?;
    let ready = start.elapsed();
    let (mut down, mut up) = (Vec::new(), Vec::new());
    for round in 1..=context.scaled(2, 20) {
        super::unload_kvm()?;
        let start = Instant::now();
        daemon.wait_until("it is down", PATIENCE, |metrics| {
            metrics.value("ldrscope_up") == 0.0
        })?;
        down.push(start.elapsed());
        shell("modprobe kvm-amd")?;
        let start = Instant::now();
        let attachments = f64::from(round + 1);
        daemon.wait_until("it is up again", PATIENCE, |metrics| {
            metrics.value("ldrscope_up") == 1.0 && metrics.value("ldrscope_attachments_total") == attachments
        })?;
        up.push(start.elapsed());
    }
    mostly_within(2 * ONE_SECOND, down, "noticing that kvm is gone")?;
    // Where a start takes longer than that here, no longer than a start and the look that finds the module.
    mostly_within((2 * ONE_SECOND).max(ready + ONE_SECOND / 2), up, "being up again")?;
    let _guest = colliding()?;
    daemon
        .wait_until("a collision is counted", PATIENCE, has_collision)
        .map_err(CaseError::from)
        .map(drop)
}

fn has_collision(metrics: &Exposition) -> bool {
    metrics.sum("ldrscope_findings", &["rule=\"ldr-collision\""]) > 0.0
}
