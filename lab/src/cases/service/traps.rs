//! That the unit grants nothing in vain: each thing taken from it is missed, and missed by name.

use super::super::fleet::PATIENT;
use super::super::{Bench, CaseError, CaseResult, Context, require};
use crate::fleet::FleetError;
use crate::fleet::journal::Journal;
use crate::fleet::service::{OF_UNIT, Service, UNIT};
use crate::host::Series;

/// A change of the unit that takes something away which it needs.
struct Trap {
    what: &'static str,
    lines: &'static str,
    /// What ldrscope says then.
    word: &'static str,
    /// The first kernel on which it does without.
    until: Option<Series>,
}

/// Sorts its symbols by name as well, and so is asked for KVM's instead of being made to list all of them.
const SYMBOLS_BY_NAME: Series = Series { major: 6, minor: 2 };

const SYS_ADMIN_ALONE: &str = "AmbientCapabilities=\nAmbientCapabilities=CAP_SYS_ADMIN\n\
                               CapabilityBoundingSet=\nCapabilityBoundingSet=CAP_SYS_ADMIN";
const SYSLOG_ALONE: &str = "AmbientCapabilities=\nAmbientCapabilities=CAP_SYSLOG\n\
                            CapabilityBoundingSet=\nCapabilityBoundingSet=CAP_SYSLOG";

const TRAPS: &[Trap] = &[
    Trap {
        what: "no CAP_SYSLOG",
        lines: SYS_ADMIN_ALONE,
        word: "addresses-hidden",
        until: None,
    },
    Trap {
        what: "no CAP_SYS_ADMIN",
        lines: SYSLOG_ALONE,
        word: "not-root",
        until: None,
    },
    Trap {
        what: "ProtectKernelTunables",
        lines: "ProtectKernelTunables=yes",
        word: "addresses-hidden",
        until: Some(SYMBOLS_BY_NAME),
    },
    Trap {
        what: "ProtectKernelLogs",
        lines: "ProtectKernelLogs=yes",
        word: "addresses-hidden",
        until: None,
    },
    Trap {
        what: "no /dev/kvm",
        lines: "DeviceAllow=",
        word: "canary-failed",
        until: None,
    },
    Trap {
        what: "PrivateDevices",
        lines: "PrivateDevices=yes",
        word: "canary-failed",
        until: None,
    },
    Trap {
        what: "no bpf(2)",
        lines: "SystemCallFilter=~bpf",
        word: "missing-capability",
        until: None,
    },
    Trap {
        what: "no perf_event_open(2)",
        lines: "SystemCallFilter=~perf_event_open",
        word: "attach-failed",
        until: None,
    },
    Trap {
        what: "PrivateUsers",
        lines: "PrivateUsers=yes",
        word: "missing-capability",
        until: None,
    },
];

/// Each thing that the unit grants is needed: without it, it fails and says what is missing. What only older kernels need is
/// done without on newer ones.
pub(in crate::cases) fn exact(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let mut service = Service::install()?;
    service.with("once", "[Service]\nRestart=no\n")?;
    let kernel = Series::running().map_err(|error| CaseError::Unmet(error.to_string()))?;
    for trap in TRAPS {
        let Trap {
            what, lines, word, ..
        } = trap;
        let journal = Journal::from_now()?;
        service.with("trap", &format!("[Service]\n{lines}\n"))?;
        let outcome = UNIT.start();
        if trap.until.is_some_and(|first| kernel >= first) {
            outcome?;
            UNIT.stop()?;
            service.without("trap")?;
            continue;
        }
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
