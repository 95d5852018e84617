//! The service over time: killed and hung, told to read again, and started before kvm is there.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::super::fleet::PATIENT;
use super::super::{Bench, CaseError, CaseResult, Context, require};
use super::{COLLISIONS, RAISED, start_guest};
use crate::exhibit::Kind;
use crate::fleet::journal::Journal;
use crate::fleet::run;
use crate::fleet::service::{Processes, Service, UNIT, open_kvm, value_of};
use crate::outside::process;

/// Full state after a start, in microseconds: 2 s on a host. Here reading the kernel's symbols alone takes longer, and the
/// time is that of a machine that does other things too.
const FULL_STATE_US: u64 = 30_000_000;

/// Something that ends one of the two processes, or stops it.
struct Blow {
    what: &'static str,
    signal: Signal,
    victim: fn(Processes) -> u32,
}

const BLOWS: &[Blow] = &[
    Blow {
        what: "its child hangs",
        signal: Signal::STOP,
        victim: |both| both.child,
    },
    Blow {
        what: "its child is killed",
        signal: Signal::KILL,
        victim: |both| both.child,
    },
    Blow {
        what: "its broker is killed",
        signal: Signal::KILL,
        victim: |both| both.broker,
    },
];

/// A loop that hangs and processes that are killed: systemd starts it again, and what stands is told again.
pub(in crate::cases) fn kept_alive(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let mut service = Service::install()?;
    service.with("quick", "[Service]\nWatchdogSec=4s\nRestartSec=100ms\n")?;
    let _guest = start_guest(Kind::Collision, 2)?;
    UNIT.start()?;
    for Blow { what, signal, victim } in BLOWS {
        let before = service.processes()?;
        let journal = Journal::from_now()?;
        process::signal(victim(before), *signal)?;
        let unit = service.await_restart(before, 2 * PATIENT)?;
        for pid in [before.broker, before.child] {
            require(!Path::new(&format!("/proc/{pid}")).exists(), || {
                format!("{what}: process {pid} should be gone")
            })?;
        }
        let raised = journal.wait_for(
            &format!("{what}: the collision is told again"),
            PATIENT,
            &COLLISIONS,
            |entry| entry.text("EVENT").as_deref() == Some("raised"),
        )?;
        let started = unit.number("ExecMainStartTimestampMonotonic").unwrap_or_default();
        let took = raised.since_boot().unwrap_or_default().saturating_sub(started);
        require(took <= FULL_STATE_US, || {
            format!("{what}: full state should be back within {FULL_STATE_US} us, took {took} us")
        })?;
    }
    Ok(())
}

/// `systemctl reload` lets go of a log that was moved away.
pub(in crate::cases) fn reloads(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    const LOG: &str = "/var/log/ldrscope/events.jsonl";
    const MOVED: &str = "/var/log/ldrscope/events.jsonl.1";
    let service = Service::install()?;
    service.configure(&format!("event-log = \"{LOG}\""))?;
    UNIT.start()?;
    let first = start_guest(Kind::Collision, 2)?;
    log_has(LOG, first.pid())?;
    fs::rename(LOG, MOVED).map_err(|error| CaseError::Unmet(format!("cannot move {LOG}: {error}")))?;
    UNIT.reload()?;
    let second = start_guest(Kind::Collision, 2)?;
    log_has(LOG, second.pid())?;
    let old = fs::read_to_string(MOVED).unwrap_or_default();
    require(!old.contains(&pid_of(second.pid())), || {
        format!("nothing should go to the moved log any more: {old}")
    })?;
    let unit = UNIT.properties()?;
    require(unit.get("NRestarts") == "0", || {
        format!("a reload should restart nothing: {}", unit.account())
    })
}

/// A host that loads kvm late: systemd is told that the service is ready, the metrics that it sees nothing yet.
pub(in crate::cases) fn waits_for_kvm(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let service = Service::install()?;
    run("modprobe", &["--remove", "kvm-amd", "kvm"])?;
    // On a host it stands from the boot on, module or not (kmod's static nodes, made by systemd-tmpfiles).
    run("mknod", &["/dev/kvm", "c", "10", "232"])?;
    open_kvm()?;
    let met = starts_blind(&service);
    run("modprobe", &["kvm-amd"])?;
    met?;
    up_becomes(&service, 1.0)?;
    let _guest = start_guest(Kind::Collision, 2)?;
    let told = Instant::now() + PATIENT;
    while value_of(&service.scrape()?.body, RAISED).is_none_or(|count| count == 0.0) {
        require(Instant::now() < told, || {
            "a collision should be counted as raised".to_owned()
        })?;
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

fn starts_blind(service: &Service) -> CaseResult {
    UNIT.start()?;
    let unit = UNIT.properties()?;
    require(unit.get("ActiveState") == "active", || {
        format!("it should be ready without kvm, is {}", unit.account())
    })?;
    up_becomes(service, 0.0)
}

/// Before its first answer, and while it is started anew, it does not answer.
fn up_becomes(service: &Service, wanted: f64) -> CaseResult {
    let deadline = Instant::now() + PATIENT;
    loop {
        let scraped = service.scrape();
        let is = scraped
            .as_ref()
            .ok()
            .and_then(|answer| value_of(&answer.body, "ldrscope_up"));
        if is == Some(wanted) {
            return Ok(());
        }
        require(Instant::now() < deadline, || {
            format!("ldrscope_up should become {wanted}, is {is:?} of {scraped:?}")
        })?;
        thread::sleep(Duration::from_millis(200));
    }
}

fn log_has(path: &str, pid: u32) -> CaseResult {
    let deadline = Instant::now() + PATIENT;
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        if text
            .lines()
            .any(|line| line.contains("\"raised\"") && line.contains(&pid_of(pid)))
        {
            return Ok(());
        }
        require(Instant::now() < deadline, || {
            format!("{path} should tell of the VM of process {pid}; it holds: {text}")
        })?;
        thread::sleep(Duration::from_millis(100));
    }
}

fn pid_of(pid: u32) -> String {
    format!("\"pid\":{pid}")
}
