//! ldrscope as a service: that the shipped unit gives it what it needs. That it gives nothing beyond is in `traps`, how the
//! service lives in `life`.

pub(super) mod life;
pub(super) mod traps;

use super::fleet::PATIENT;
use super::{Bench, CaseError, CaseResult, Context, require};
use crate::exhibit::{Disguise, GuestProcess, Kind};
use crate::fleet::journal::{Entry, Journal};
use crate::fleet::service::{IDENTIFIER, Processes, Service, UNIT, status_field, value_of};

/// `MESSAGE_ID` of a collision: fixed, since scripts search for it.
const COLLISION_ID: &str = "b9a3ea2a3f0444458a73438e66a600b1";

/// The unit's capabilities as `systemctl show` and `/proc` have them: CAP_SYS_ADMIN (21) and CAP_SYSLOG (34).
const CAPABILITIES: u64 = 1 << 21 | 1 << 34;

/// From the wish to stop to the end, in microseconds: 1 s on a host.
const STOP_US: u64 = 2_000_000;

/// How many findings were raised.
pub(super) const RAISED: &str = "ldrscope_finding_events_total{event=\"raised\"}";

/// Somebody calls a VM so who wants another entry, at another priority, in red.
const NAME: &str = "web\nPRIORITY=0\nMESSAGE=\u{1b}[31mall is well";
const UUID: &str = "30ad89ac-5906-49ca-8d52-3c6343c598f6";

/// Events of collisions.
const COLLISIONS: [&str; 2] = [IDENTIFIER, "RULE=ldr-collision"];

/// With exactly the shipped unit it becomes ready, shuts itself in, and writes a finding's whole life to the journal.
pub(super) fn sufficient(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let service = Service::install()?;
    let journal = Journal::from_now()?;
    UNIT.start()?;
    let unit = UNIT.properties()?;
    require(
        unit.get("ActiveState") == "active" && unit.get("NRestarts") == "0",
        || format!("it should be active at once, is {}", unit.account()),
    )?;
    require(!unit.get("StatusText").is_empty(), || {
        "it should tell systemd how things are".to_owned()
    })?;
    holds_what_it_should(service.processes()?)?;
    let up = value_of(&service.scrape()?.body, "ldrscope_up");
    require(up == Some(1.0), || format!("ldrscope_up should be 1, is {up:?}"))?;

    let guest = hostile_guest()?;
    let raised = journal.wait_for("a collision is in the journal", PATIENT, &COLLISIONS, |entry| {
        entry.text("EVENT").as_deref() == Some("raised")
    })?;
    has_native_fields(&raised, &guest)?;
    let id = raised.text("FINDING_ID");
    guest.kill();
    let cleared = journal.wait_for(
        "the collision's end is in the journal",
        PATIENT,
        &COLLISIONS,
        |entry| entry.text("EVENT").as_deref() == Some("cleared") && entry.text("FINDING_ID") == id,
    )?;
    require(cleared.text("PRIORITY").as_deref() == Some("6"), || {
        format!("an end should be information: {}", cleared.line())
    })?;
    ends_in_order()
}

/// The broker the unit's capabilities at most, its child none; neither may gain any.
fn holds_what_it_should(Processes { broker, child }: Processes) -> CaseResult {
    let holds = |pid, name: &str| -> Result<u64, CaseError> {
        let text = status_field(pid, name)?;
        u64::from_str_radix(&text, 16).map_err(|_| CaseError::Unmet(format!("{name} of {pid} is {text:?}")))
    };
    for name in ["CapEff", "CapPrm", "CapBnd"] {
        let held = holds(broker, name)?;
        require(held & !CAPABILITIES == 0, || {
            format!("the broker's {name} should be within {CAPABILITIES:x}, is {held:x}")
        })?;
    }
    for name in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
        let held = holds(child, name)?;
        require(held == 0, || {
            format!("the child's {name} should be 0, is {held:x}")
        })?;
    }
    for (name, wanted) in [("NoNewPrivs", "1"), ("Seccomp", "2")] {
        let is = status_field(child, name)?;
        require(is == wanted, || {
            format!("the child's {name} should be {wanted}, is {is:?}")
        })?;
    }
    let filters = |pid| -> Result<u32, CaseError> {
        let text = status_field(pid, "Seccomp_filters")?;
        text.parse()
            .map_err(|_| CaseError::Unmet(format!("Seccomp_filters is {text:?}")))
    };
    let (of_broker, of_child) = (filters(broker)?, filters(child)?);
    require(of_child > of_broker, || {
        format!("the child should have a filter of its own beyond the unit's: {of_child} against {of_broker}")
    })?;
    let uids = status_field(child, "Uid")?;
    require(uids.split_ascii_whitespace().all(|uid| uid != "0"), || {
        format!("the child should not be root: {uids}")
    })
}

fn has_native_fields(raised: &Entry, guest: &GuestProcess) -> CaseResult {
    let pid = guest.pid().to_string();
    require(raised.values("VM_NAME") == [NAME.as_bytes()], || {
        format!("VM_NAME should be as the VM is called: {}", raised.line())
    })?;
    let message = raised.text("MESSAGE").unwrap_or_default();
    require(!message.is_empty() && !message.contains(char::is_control), || {
        format!("MESSAGE should be one line for a terminal: {message:?}")
    })?;
    let wanted = [
        ("VM_UUID", UUID),
        ("VM_PID", &pid),
        ("VMM", "qemu"),
        ("RULE", "ldr-collision"),
        ("MESSAGE_ID", COLLISION_ID),
        ("SLOT", "0:0"),
    ];
    for (field, value) in wanted {
        let is = raised.text(field);
        require(is.as_deref() == Some(value), || {
            format!("{field} should be {value:?}, is {is:?}: {}", raised.line())
        })?;
    }
    require(raised.texts("VCPU") == ["0", "1"], || {
        format!("VCPU should be 0 and 1: {}", raised.line())
    })?;
    let priority = match raised.text("SEVERITY").as_deref() {
        Some("critical") => "2",
        Some("warning") => "4",
        Some("notice") => "5",
        _ => "6",
    };
    require(raised.text("PRIORITY").as_deref() == Some(priority), || {
        format!("PRIORITY should be {priority}: {}", raised.line())
    })?;
    require(raised.text("FINDING_ID").is_some_and(|id| !id.is_empty()), || {
        format!("FINDING_ID is missing: {}", raised.line())
    })
}

/// Stops within a second, with exit 0.
fn ends_in_order() -> CaseResult {
    UNIT.stop()?;
    let unit = UNIT.properties()?;
    let time = |name| unit.number(name).unwrap_or_default();
    let took = time("InactiveEnterTimestampMonotonic").saturating_sub(time("ActiveExitTimestampMonotonic"));
    require(took <= STOP_US, || {
        format!("it should stop within {STOP_US} us, took {took}")
    })?;
    require(
        unit.get("Result") == "success" && unit.get("ExecMainStatus") == "0",
        || format!("it should end with 0: {}", unit.account()),
    )
}

/// A colliding guest of QEMU's, to all appearances.
fn hostile_guest() -> Result<GuestProcess, CaseError> {
    let arguments = [
        "-name".to_owned(),
        format!("guest={NAME}"),
        "-uuid".to_owned(),
        UUID.to_owned(),
    ];
    let disguise = Disguise {
        argv0: Some("/usr/bin/qemu-system-x86_64".into()),
        arguments: arguments.into_iter().map(Into::into).collect(),
        ..Disguise::default()
    };
    GuestProcess::disguised(Kind::Collision, 2, &disguise)
        .map_err(|error| CaseError::Unmet(format!("guest process: {error}")))
}

pub(super) fn start_guest(kind: Kind, vcpus: u32) -> Result<GuestProcess, CaseError> {
    GuestProcess::start(kind, vcpus).map_err(|error| CaseError::Unmet(format!("guest process: {error}")))
}
