//! The host itself: what is held on it, how it is locked down, and settings that are often suspected.

use super::{Check, ok};
use crate::kernel::support::{Capabilities, KernelSupport, Lockdown};

pub(super) fn privileges(support: &KernelSupport) -> String {
    let Capabilities {
        sys_admin,
        syslog,
        perfmon,
        bpf,
        sys_resource: _,
    } = support.capabilities;
    let held: Vec<&str> = [
        (sys_admin, "CAP_SYS_ADMIN"),
        (bpf, "CAP_BPF"),
        (perfmon, "CAP_PERFMON"),
        (syslog, "CAP_SYSLOG"),
    ]
    .into_iter()
    .filter_map(|(held, name)| held.then_some(name))
    .collect();
    format!("uid {}, {}", support.uid, held.join(", "))
}

pub(super) fn initial(initial: Option<bool>) -> String {
    if initial.is_some() {
        "the initial one"
    } else {
        "not known"
    }
    .to_owned()
}

pub(super) fn lockdown(support: &KernelSupport) -> String {
    let declared = match support.lockdown {
        None => "not declared",
        Some(Lockdown::None) => "none",
        Some(Lockdown::Integrity) => "integrity, which refuses nothing that is needed",
        Some(Lockdown::Confidentiality) => "confidentiality",
    };
    let reads = match support.kernel_reads {
        Some(true) => "programs that read the kernel are accepted",
        Some(false) => "programs that read the kernel are refused",
        None => "whether programs that read the kernel are accepted could not be tried",
    };
    format!("{declared}; {reads}")
}

/// Settings that are often suspected. None is in the way of who holds the privileges.
pub(super) fn limits(support: &KernelSupport) -> Check {
    let number = |value: Option<i32>| value.map_or_else(|| "not known".to_owned(), |value| value.to_string());
    let mounted = |is: bool| {
        if is {
            "readable"
        } else {
            "not readable (not needed)"
        }
    };
    ok(
        "settings",
        format!(
            "perf_event_paranoid {}, unprivileged_bpf_disabled {}, locked memory {}, tracefs {}, debugfs {}",
            number(support.perf_event_paranoid),
            number(support.unprivileged_bpf_disabled),
            support
                .memlock
                .map_or_else(|| "unlimited".to_owned(), |bytes| format!("{} KiB", bytes >> 10)),
            mounted(support.tracefs),
            mounted(support.debugfs),
        ),
    )
}
