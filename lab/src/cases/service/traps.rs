//! That the unit grants nothing in vain: each thing taken from it is missed, and missed by name.

use super::super::fleet::PATIENT;
use super::super::{Bench, CaseResult, Context, require};
use crate::fleet::FleetError;
use crate::fleet::journal::Journal;
use crate::fleet::service::{OF_UNIT, Service, UNIT};

/// A change of the unit that takes something away which it needs.
struct Trap {
    what: &'static str,
    lines: &'static str,
    /// What ldrscope says then.
    word: &'static str,
}

const SYS_ADMIN_ALONE: &str = "AmbientCapabilities=\nAmbientCapabilities=CAP_SYS_ADMIN\n\
                               CapabilityBoundingSet=\nCapabilityBoundingSet=CAP_SYS_ADMIN";
const SYSLOG_ALONE: &str = "AmbientCapabilities=\nAmbientCapabilities=CAP_SYSLOG\n\
                            CapabilityBoundingSet=\nCapabilityBoundingSet=CAP_SYSLOG";

const TRAPS: &[Trap] = &[
    Trap {
        what: "no CAP_SYSLOG",
        lines: SYS_ADMIN_ALONE,
        word: "addresses-hidden",
    },
    Trap {
        what: "no CAP_SYS_ADMIN",
        lines: SYSLOG_ALONE,
        word: "not-root",
    },
    Trap {
        what: "ProtectKernelTunables",
        lines: "ProtectKernelTunables=yes",
        word: "addresses-hidden",
    },
    Trap {
        what: "ProtectKernelLogs",
        lines: "ProtectKernelLogs=yes",
        word: "addresses-hidden",
    },
    Trap {
        what: "no /dev/kvm",
        lines: "DeviceAllow=",
        word: "canary-failed",
    },
    Trap {
        what: "PrivateDevices",
        lines: "PrivateDevices=yes",
        word: "canary-failed",
    },
    Trap {
        what: "no bpf(2)",
        lines: "SystemCallFilter=~bpf",
        word: "missing-capability",
    },
    Trap {
        what: "no perf_event_open(2)",
        lines: "SystemCallFilter=~perf_event_open",
        word: "attach-failed",
    },
    Trap {
        what: "PrivateUsers",
        lines: "PrivateUsers=yes",
        word: "missing-capability",
    },
];

/// Each thing that the unit grants is needed: without it, it fails and says what is missing.
pub(in crate::cases) fn exact(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let mut service = Service::install()?;
    service.with("once", "[Service]\nRestart=no\n")?;
    for Trap { what, lines, word } in TRAPS {
        let journal = Journal::from_now()?;
        service.with("trap", &format!("[Service]\n{lines}\n"))?;
        let outcome = UNIT.start();
        require(matches!(outcome, Err(FleetError::Failed { .. })), || {
            format!("{what}: it should not start, but {outcome:?}")
        })?;
        let wanted = format!("error[{word}]: ");
        journal.wait_for(
            &format!("{what}: {wanted}is said, as an error"),
            PATIENT,
            &[OF_UNIT],
            |entry| {
                let said = entry.text("MESSAGE").unwrap_or_default();
                said.starts_with(&wanted) && entry.text("PRIORITY").as_deref() == Some("3")
            },
        )?;
        let unit = UNIT.properties()?;
        require(unit.get("ExecMainStatus") == "3", || {
            format!("{what}: it should exit 3: {}", unit.account())
        })?;
        service.without("trap")?;
    }
    UNIT.reset()?;
    Ok(UNIT.start()?)
}
