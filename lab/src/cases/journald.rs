//! A journald that is gone or does not listen must not hold ldrscope up: metrics answer, and entries come later or are counted.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use super::fleet::PATIENT;
use super::service::{RAISED, start_guest};
use super::{Bench, CaseError, CaseResult, Context, require};
use crate::exhibit::Kind;
use crate::fleet::journal::Journal;
use crate::fleet::service::{IDENTIFIER, Service, UNIT, value_of};
use crate::fleet::systemd::Unit;
use crate::outside::process::while_stopped;

const JOURNALD: Unit = Unit("systemd-journald.service");
const SOCKETS: [Unit; 3] = [
    Unit("systemd-journald.socket"),
    Unit("systemd-journald-dev-log.socket"),
    Unit("systemd-journald-audit.socket"),
];
const SOCKET: &str = "/run/systemd/journal/socket";

/// A scrape of a loop that waits for nothing, emulation and a busy machine included. One that waits for journald ends with it.
const PROMPT: Duration = Duration::from_secs(5);

/// No datagram queue is longer.
const FILL: usize = 100_000;

/// It is stopped with its sockets, findings come meanwhile, and it is started again.
pub(super) fn stopped(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let service = Service::install()?;
    UNIT.start()?;
    let journal = Journal::from_now()?;
    for socket in SOCKETS {
        socket.stop()?;
    }
    JOURNALD.stop()?;
    let met = findings_are_counted_meanwhile(&service);
    let started = SOCKETS.iter().try_for_each(|socket| socket.start());
    met.and(started.map_err(CaseError::from))?;
    JOURNALD.start()?;
    catches_up(&service, &journal)
}

/// It lives and reads nothing, its queue full.
pub(super) fn not_reading(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let service = Service::install()?;
    UNIT.start()?;
    let journal = Journal::from_now()?;
    let pid = JOURNALD.properties()?.number("MainPID").unwrap_or_default();
    let pid = u32::try_from(pid).unwrap_or_default();
    while_stopped(pid, || {
        fill_its_queue()?;
        findings_are_counted_meanwhile(&service)
    })?;
    catches_up(&service, &journal)
}

/// A collision comes and stays; the metrics say so at once.
fn findings_are_counted_meanwhile(service: &Service) -> CaseResult {
    let raised = |body: &str| value_of(body, RAISED).unwrap_or(0.0);
    let before = raised(&service.scrape()?.body);
    let guest = start_guest(Kind::Collision, 2)?;
    let deadline = Instant::now() + PATIENT;
    loop {
        let asked = Instant::now();
        let body = service.scrape()?.body;
        let took = asked.elapsed();
        require(took <= PROMPT, || {
            format!("a scrape should be prompt, took {took:?}")
        })?;
        if raised(&body) > before {
            break;
        }
        require(Instant::now() < deadline, || {
            format!("a collision should be counted as raised:\n{body}")
        })?;
    }
    guest.kill();
    Ok(())
}

/// What was told meanwhile is in the journal, or counted as lost.
fn catches_up(service: &Service, journal: &Journal) -> CaseResult {
    let entries = journal.wait_for(
        "what was told meanwhile is in the journal",
        PATIENT,
        &[IDENTIFIER, "RULE=ldr-collision"],
        |entry| entry.text("EVENT").as_deref() == Some("raised"),
    );
    let lost = value_of(
        &service.scrape()?.body,
        "ldrscope_output_errors_total{output=\"journal\"}",
    );
    match entries {
        Ok(_) => Ok(()),
        Err(_) if lost > Some(0.0) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn fill_its_queue() -> CaseResult {
    let unmet = |error| CaseError::Unmet(format!("cannot send to {SOCKET}: {error}"));
    let socket = UnixDatagram::unbound().map_err(unmet)?;
    socket.set_nonblocking(true).map_err(unmet)?;
    for _ in 0..FILL {
        match socket.send_to(b"MESSAGE=filling\n", SOCKET) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(unmet(error)),
        }
    }
    Err(CaseError::Unmet(
        "journald's queue should be full by now".to_owned(),
    ))
}
