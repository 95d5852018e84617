//! What each step asks for on this kernel under its settings, and whether it is held: loading programs, attaching them,
//! seeing addresses, memory for maps, the kernel's statistics.

use super::{Check, Facts, State, ok};
use crate::kernel::{
    obstacle::Obstacle,
    preflight::PARANOIA_FOR_PERFMON,
    support::{Capabilities, KernelSupport},
};

/// Memory for maps comes out of the locked memory of the user up to this version; later out of the control group's.
const LAST_TO_LOCK_MAPS: (u32, u32) = (5, 10);

/// What the maps take with the default ring, on kernels that count it: 3 MiB on 5.10, and as much again while they are made
/// anew.
const MAPS_KIB: u64 = 8 << 10;

/// Above this `kernel.perf_event_paranoid` addresses are shown to nobody without `CAP_SYSLOG`.
const PARANOIA_FOR_ADDRESSES: i32 = 1;

pub(super) fn rights(facts: &Facts<'_>) -> Vec<Check> {
    let support = facts.support;
    let held = held(support);
    vec![
        loading(held),
        attaching(held, support.perf_event_paranoid),
        addresses(facts, held),
        map_memory(held, support),
        statistics(held, support.bpf_stats),
    ]
}

/// Outside the initial user namespace capabilities count for nothing here.
fn held(support: &KernelSupport) -> Capabilities {
    if support.initial_user_namespace == Some(false) {
        Capabilities::default()
    } else {
        support.capabilities
    }
}

/// Something that is asked for and not held.
fn lacking(name: &str, detail: String, remedy: &str) -> Check {
    Check {
        state: State::Blocked,
        word: Some("missing-capability"),
        remedy: Some(remedy.to_owned()),
        ..ok(name, detail)
    }
}

fn loading(held: Capabilities) -> Check {
    const NAME: &str = "loading";
    match (held.sys_admin, held.bpf, held.perfmon) {
        (_, true, true) => ok(NAME, "programs may be loaded: CAP_BPF and CAP_PERFMON are held"),
        (true, ..) => ok(NAME, "programs may be loaded: CAP_SYS_ADMIN is held"),
        (false, bpf, perfmon) => {
            let missing = match (bpf, perfmon) {
                (true, _) => "CAP_PERFMON is not",
                (_, true) => "CAP_BPF is not",
                _ => "neither is",
            };
            lacking(
                NAME,
                format!(
                    "programs may not be loaded: that asks for CAP_BPF with CAP_PERFMON, or for CAP_SYS_ADMIN, and {missing} held"
                ),
                "grant CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN; in a container add them to its bounding set",
            )
        }
    }
}

fn attaching(held: Capabilities, paranoia: Option<i32>) -> Check {
    const NAME: &str = "attaching";
    let (asked, is_held, remedy) = match paranoia {
        Some(level) if level > PARANOIA_FOR_PERFMON => (
            format!("perf_event_paranoid is {level}, so that kprobes ask for CAP_SYS_ADMIN"),
            held.sys_admin,
            "grant CAP_SYS_ADMIN, or set `kernel.perf_event_paranoid` to 2, under which CAP_PERFMON will do",
        ),
        level => {
            let level = level.map_or_else(|| "not known".to_owned(), |level| level.to_string());
            (
                format!(
                    "perf_event_paranoid is {level}, so that kprobes ask for CAP_PERFMON or CAP_SYS_ADMIN"
                ),
                held.sys_admin || held.perfmon,
                "grant CAP_PERFMON, or CAP_SYS_ADMIN",
            )
        }
    };
    if is_held {
        ok(NAME, format!("{asked}, which is held"))
    } else {
        lacking(NAME, format!("{asked}, which is not held"), remedy)
    }
}

/// `kallsyms_show_value` of the kernel; what it shows counts more than what it should.
fn addresses(facts: &Facts<'_>, held: Capabilities) -> Check {
    const NAME: &str = "addresses";
    let KernelSupport {
        kptr_restrict,
        perf_event_paranoid,
        ..
    } = *facts.support;
    let Some(restrict) = kptr_restrict else {
        return ok(NAME, "kptr_restrict is not known");
    };
    let to_all = perf_event_paranoid.is_some_and(|level| level <= PARANOIA_FOR_ADDRESSES);
    let (asked, may) = match restrict {
        0 if to_all => ("shown to everybody", true),
        0 | 1 => ("shown to who holds CAP_SYSLOG", held.syslog),
        _ => ("hidden from everybody", false),
    };
    let rule = format!("kptr_restrict is {restrict}, so that addresses are {asked}");
    if may || facts.symbols.is_some_and(|symbols| symbols.shown()) {
        return ok(NAME, rule);
    }
    let (detail, remedy) = if restrict > 1 {
        (rule, "set `kernel.kptr_restrict` to 1 and grant CAP_SYSLOG")
    } else if bounded(facts.support) {
        (
            format!("{rule}, which is not held and not even in the bounding set"),
            "add CAP_SYSLOG to the container, or to `CapabilityBoundingSet=` of the unit together with `ProtectKernelLogs=no`",
        )
    } else {
        (format!("{rule}, which is not held"), "grant CAP_SYSLOG")
    };
    Check {
        state: State::Blocked,
        word: Some(Obstacle::AddressesHidden.word()),
        remedy: Some(remedy.to_owned()),
        ..ok(NAME, detail)
    }
}

/// Whether `CAP_SYSLOG` cannot be had.
fn bounded(support: &KernelSupport) -> bool {
    support.bounding.is_some_and(|bounding| !bounding.syslog)
}

fn map_memory(held: Capabilities, support: &KernelSupport) -> Check {
    const NAME: &str = "map-memory";
    if support
        .version()
        .is_none_or(|version| version > LAST_TO_LOCK_MAPS)
    {
        return ok(NAME, "counted by the control group, not as locked memory");
    }
    let Some(limit) = support.memlock else {
        return ok(NAME, "counted as locked memory, which has no limit here");
    };
    let counted = format!(
        "counted as locked memory, which is limited to {} KiB",
        limit >> 10
    );
    if limit >> 10 >= MAPS_KIB {
        return ok(NAME, counted);
    }
    if held.sys_resource {
        return ok(NAME, format!("{counted}; CAP_SYS_RESOURCE is held to raise that"));
    }
    Check {
        state: State::Blocked,
        word: Some("load-refused"),
        remedy: Some(
            "raise it: `LimitMEMLOCK=infinity` in a unit, `ulimit -l unlimited` in a shell".to_owned(),
        ),
        ..ok(NAME, format!("{counted}: the default ring needs {MAPS_KIB} KiB"))
    }
}

/// Opt-in, so that not being able to is no complaint.
fn statistics(held: Capabilities, enabled: Option<i32>) -> Check {
    let detail = match (enabled, held.sys_admin) {
        (Some(level), _) if level > 0 => "the kernel times all programs already (kernel.bpf_stats_enabled)",
        (_, true) => "off; `--program-stats` may turn them on: CAP_SYS_ADMIN is held",
        (_, false) => "off; `--program-stats` could not turn them on, which asks for CAP_SYS_ADMIN",
    };
    ok("program-stats", detail)
}
