//! Settings of a systemd unit, and their likes in containers, that look harmless and blind ldrscope. A word on each only
//! where it is sprung.

use super::{Check, State, degraded, ok};
use crate::kernel::support::KernelSupport;

pub(super) fn traps(support: &KernelSupport) -> Vec<Check> {
    let hidden = support.proc_mount;
    let within = support
        .unit
        .as_ref()
        .map(|unit| format!(" (this is {unit})"))
        .unwrap_or_default();
    let mut checks = Vec::new();
    if hidden.kallsyms {
        checks.push(Check {
            state: State::Blocked,
            word: Some("symbol-missing"),
            remedy: Some(
                "set `ProtectKernelTunables=no` in the unit; without a unit, unmount what lies there"
                    .to_owned(),
            ),
            ..ok(
                "trap ProtectKernelTunables",
                format!("something lies over /proc/kallsyms, whatever is held{within}"),
            )
        });
    }
    let loses_syslog = support
        .bounding
        .is_some_and(|bounding| bounding.sys_admin && !bounding.syslog);
    if loses_syslog && !support.capabilities.syslog {
        checks.push(degraded(
            "trap ProtectKernelLogs",
            format!("CAP_SYSLOG is not in the bounding set, so addresses may be hidden{within}"),
            "set `ProtectKernelLogs=no` and add CAP_SYSLOG to `CapabilityBoundingSet=` in the unit, or to the container",
        ));
    }
    if hidden.others {
        checks.push(degraded(
            "trap ProtectProc",
            format!("/proc hides other users' processes, so the daemon cannot name VMs once it holds no capability{within}"),
            "set `ProtectProc=default` in the unit; where /proc itself is mounted with `hidepid`, add its `gid` group to the \
             daemon's user",
        ));
    }
    if hidden.all_but_processes {
        checks.push(Check {
            state: State::Blocked,
            word: Some("symbol-missing"),
            remedy: Some("set `ProcSubset=all` in the unit".to_owned()),
            ..ok(
                "trap ProcSubset",
                format!("/proc shows nothing but processes{within}"),
            )
        });
    }
    checks
}
