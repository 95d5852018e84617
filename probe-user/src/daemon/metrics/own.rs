//! ldrscope itself as metrics: whether it watches, what it took in, what it missed, what it costs.

use std::collections::BTreeMap;

use probe_apic::{cause::Route, tracker::ChangeKind};

use super::{
    Telemetry,
    family::{Family, count},
};

/// Whether it watches, and which ldrscope it is.
pub(super) fn about(telemetry: &Telemetry<'_>) -> [Family; 2] {
    [
        Family::gauge(
            "ldrscope_up",
            "1 while the hooks on KVM are attached and a test VM has proven that they hear, 0 while ldrscope sees \
             nothing, as when the kvm module is not loaded.",
        )
        .of(f64::from(u8::from(telemetry.up))),
        Family::gauge("ldrscope_build_info", "Always 1; the label names the version of ldrscope.")
            .by("version", [(env!("CARGO_PKG_VERSION"), 1.0)]),
    ]
}

/// All counters.
pub(super) fn counters(telemetry: &Telemetry<'_>) -> Vec<Family> {
    let mut families = of_the_guests(telemetry);
    families.extend(of_observing(telemetry));
    families.extend(of_outputs(telemetry));
    families.extend(of_programs(telemetry));
    families.extend(of_http(telemetry));
    families
}

fn of_the_guests(telemetry: &Telemetry<'_>) -> Vec<Family> {
    let tally = telemetry.tally;
    let kinds = [ChangeKind::Raised, ChangeKind::Changed, ChangeKind::Cleared];
    vec![
        Family::counter(
            "ldrscope_finding_events_total",
            "Findings that were raised, changed or cleared.",
        )
        .by(
            "event",
            kinds.map(|kind| (kind.name(), count(tally.finding_events(kind)))),
        ),
        Family::counter(
            "ldrscope_recalculations_total",
            "Recalculations of an APIC map that KVM completed, of all VMs.",
        )
        .of(count(tally.recalculations())),
        Family::counter(
            "ldrscope_ldr_writes_total",
            "Changes of vCPUs' Logical Destination Registers by route. With the precise hooks every single write of a \
             guest counts; with the cold ones a change that is seen between two looks at the vCPU counts once. scan: \
             nobody saw how it came about.",
        )
        .by("route", Route::ALL.map(|route| (route.name(), count(tally.ldr_writes(route))))),
    ]
}

fn of_observing(telemetry: &Telemetry<'_>) -> Vec<Family> {
    let counts = &telemetry.counts;
    let counters = [
        (
            "ldrscope_records_total",
            "Records that the kernel side handed over.",
            counts.records,
        ),
        (
            "ldrscope_records_dropped_total",
            "Records that found no room in the ring between kernel and userspace. Every VM is read again after a loss.",
            counts.dropped,
        ),
        (
            "ldrscope_program_runs_missed_total",
            "Runs that the kernel denied a program of ldrscope's because another one was in the way, as far as the kernel counts \
             them (6.7 on). Every VM is read again after one.",
            counts.missed,
        ),
        (
            "ldrscope_records_skipped_total",
            "Records that the kernel side left out because a VM changed faster than it was read; the read that was due shows \
             what became of them.",
            counts.skipped,
        ),
        (
            "ldrscope_records_undecodable_total",
            "Records that could not be understood. Every VM is read again after one.",
            counts.undecodable,
        ),
        (
            "ldrscope_rescans_total",
            "Walks of KVM's list of VMs, to find those that no record told of.",
            counts.scans,
        ),
        (
            "ldrscope_vm_reads_total",
            "Reads of a VM's registers and published map, off the guest's path.",
            counts.reads,
        ),
        (
            "ldrscope_attachments_total",
            "Times that the hooks were attached: once at the start, and after each load of the kvm module.",
            telemetry.attachments,
        ),
        (
            "ldrscope_untracked_vms_total",
            "VMs that are not observed because there were more at once than ldrscope keeps track of.",
            counts.untracked,
        ),
    ];
    let family = |(name, help, value)| Family::counter(name, help).of(count(value));
    counters.map(family).into()
}

fn of_outputs(telemetry: &Telemetry<'_>) -> Vec<Family> {
    let outputs = telemetry.outputs;
    let counts = |counts: &BTreeMap<&'static str, u64>| -> Vec<(&'static str, f64)> {
        counts
            .iter()
            .map(|(label, value)| (*label, count(*value)))
            .collect()
    };
    let mut families = vec![
        Family::counter(
            "ldrscope_lines_suppressed_total",
            "Lines about findings that the rate limit held back; metrics and state are not limited.",
        )
        .of(count(outputs.suppressed_lines)),
        Family::counter(
            "ldrscope_output_errors_total",
            "Failures of an output of ldrscope, such as a file on a full disk.",
        )
        .by("output", counts(&outputs.errors)),
        Family::counter(
            "ldrscope_snapshots_written_total",
            "Snapshots written to the snapshot directory, by what asked for them.",
        )
        .by("reason", counts(&outputs.snapshots)),
        Family::counter(
            "ldrscope_recordings_written_total",
            "Recordings of what led to something that the flight recorder wrote to the recording directory, by what asked \
             for them.",
        )
        .by("reason", counts(&outputs.recordings)),
    ];
    if let Some(bytes) = outputs.recording_bytes {
        families.push(
            Family::gauge(
                "ldrscope_flight_recorder_bytes",
                "Bytes of packed observations that the flight recorder holds in memory, at most recording-memory.",
            )
            .of(count(bytes as u64)),
        );
    }
    families
}

fn of_programs(telemetry: &Telemetry<'_>) -> [Family; 2] {
    let programs = || telemetry.programs.iter();
    let seconds = programs().map(|cost| (cost.program, cost.time.as_secs_f64()));
    let runs = programs().map(|cost| (cost.program, count(cost.runs)));
    [
        Family::counter(
            "ldrscope_program_run_seconds_total",
            "Time that a kernel-side program of ldrscope took, as measured by the kernel (--program-stats).",
        )
        .by("program", seconds),
        Family::counter(
            "ldrscope_program_runs_total",
            "Runs of a kernel-side program of ldrscope, as counted by the kernel (--program-stats).",
        )
        .by("program", runs),
    ]
}

fn of_http(telemetry: &Telemetry<'_>) -> [Family; 2] {
    let mut requests = Family::counter(
        "ldrscope_http_requests_total",
        "Requests that the metrics endpoint answered, by status code.",
    );
    for (code, answered) in &telemetry.http.requests {
        requests.push(&[("code", &code.to_string())], count(*answered));
    }
    [
        requests,
        Family::counter(
            "ldrscope_http_connections_refused_total",
            "Connections to the metrics endpoint that were closed for want of a place, before a whole request was \
             read.",
        )
        .of(count(telemetry.http.refused)),
    ]
}
