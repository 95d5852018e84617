//! An output as the fields of a journal entry: the words of the JSON contract, each in a field of its own.

use probe_apic::{
    cause::Cause,
    finding::{Finding, Severity},
    id::Slot,
    tracker::ChangeKind,
};

use super::{fields::Fields, message_id};
use crate::{
    clock::WallClock,
    engine::output::{Event, Output, Status, StatusKind},
    escape::escape_line,
    identity::{VmIdentity, finding_id::finding_id},
    sink::phrase,
};

/// vCPUs that an entry names; VCPU_COUNT says how many there are. journald takes 1,024 fields of an entry.
const NAMED_VCPUS: usize = 512;

/// syslog's priorities.
mod priority {
    pub(super) const CRITICAL: &str = "2";
    pub(super) const WARNING: &str = "4";
    pub(super) const NOTICE: &str = "5";
    pub(super) const INFO: &str = "6";
}

/// The entry for one output, ready to be sent.
pub(super) fn entry(output: &Output, wall: WallClock) -> Vec<u8> {
    let mut fields = Fields::default();
    fields.put("SYSLOG_IDENTIFIER", "ldrscope");
    match output {
        Output::Event(event) => put_event(&mut fields, event, wall),
        Output::Status(status) => put_status(&mut fields, status, wall),
    }
    fields.into_bytes()
}

fn put_event(fields: &mut Fields, event: &Event, wall: WallClock) {
    let change = &event.change;
    let finding = &change.finding;
    let latency_micros = change.latency_nanos / 1_000;
    fields
        .put("MESSAGE", &sentence(event))
        .put("PRIORITY", event_priority(change.kind, finding.severity))
        .put("MESSAGE_ID", &id(message_id::of_rule(finding.key.rule)))
        .put("EVENT", change.kind.name())
        .put("EVENT_TIME", &wall.rfc3339(change.at))
        .put("LATENCY_US", &latency_micros.to_string())
        .put("FINDING_ID", &finding_id(&event.vm, &finding.key));
    put_vm(fields, &event.vm);
    put_finding(fields, finding, wall);
    if let Some(cause) = &finding.cause {
        put_cause(fields, cause);
    }
}

/// Like a line of `watch`, with the summary behind it: what people see of an entry.
fn sentence(event: &Event) -> String {
    let finding = &event.change.finding;
    let slots = phrase::slots(&finding.slots).map_or_else(String::new, |slots| format!(", {slots}"));
    let reservation =
        phrase::reservation(finding).map_or_else(String::new, |reservation| format!(" [{reservation}]"));
    format!(
        "{} {} {}, VM {}{slots}{reservation}: {}",
        event.change.kind,
        finding.severity,
        finding.key.rule,
        phrase::vm(&event.vm),
        escape_line(&finding.summary)
    )
}

fn put_finding(fields: &mut Fields, finding: &Finding, wall: WallClock) {
    fields
        .put("RULE", finding.key.rule.name())
        .put("SEVERITY", finding.severity.name())
        .put("CONFIDENCE", finding.confidence.name())
        .put("SUSPECTED", flag(finding.suspected))
        .put_some("SINCE", finding.since.map(|at| wall.rfc3339(at)))
        .put("EFFECT_LOST", &finding.effect.lost.to_string())
        .put("EFFECT_MISROUTED", &finding.effect.misrouted.to_string())
        .put("EFFECT_PARTIAL", &finding.effect.partial.to_string())
        .put("EFFECT_SLOW", flag(finding.effect.slow))
        .put("VCPU_COUNT", &finding.vcpus.len().to_string());
    for vcpu in finding.vcpus.iter().take(NAMED_VCPUS) {
        fields.put("VCPU", &vcpu.to_string());
    }
    for Slot { cluster, bit } in &finding.slots {
        fields.put("SLOT", &format!("{cluster}:{bit}"));
    }
}

fn put_cause(fields: &mut Fields, cause: &Cause) {
    let hexadecimal = |value: u64| format!("{value:#x}");
    fields
        .put("CAUSE_ROUTE", cause.route.name())
        .put_some("CAUSE_VCPU", cause.vcpu_id)
        .put_some("CAUSE_TID", cause.task.as_ref().map(|task| task.tid))
        .put_some("CAUSE_COMM", cause.task.as_ref().map(|task| task.comm))
        .put_some("CAUSE_REGISTER", cause.register)
        .put_some("CAUSE_OLD", cause.old.map(hexadecimal))
        .put_some("CAUSE_NEW", cause.new.map(hexadecimal))
        .put_some("CAUSE_GUEST_RIP", cause.guest_rip.map(hexadecimal))
        .put("CAUSE_CERTAIN", flag(cause.certain));
}

fn put_status(fields: &mut Fields, status: &Status, wall: WallClock) {
    let whose = status
        .vm
        .as_ref()
        .map_or_else(|| "all VMs".to_owned(), |vm| format!("VM {}", phrase::vm(vm)));
    let words = phrase::status(status.kind).map_or_else(String::new, |words| format!(": {words}"));
    fields
        .put("MESSAGE", &format!("{} {whose}{words}", status.kind.name()))
        .put("PRIORITY", status_priority(status.kind))
        .put("MESSAGE_ID", &id(message_id::of_status(status.kind)))
        .put("STATUS", status.kind.name())
        .put("EVENT_TIME", &wall.rfc3339(status.at))
        .put_some("RECORDS", status.kind.count());
    if let Some(vm) = &status.vm {
        put_vm(fields, vm);
    }
}

/// Names stay as they are: a field's value is framed, and whoever prints it has to know what it does.
fn put_vm(fields: &mut Fields, vm: &VmIdentity) {
    fields
        .put("VM_NAME", &vm.name)
        .put_some("VM_UUID", vm.uuid.as_ref())
        .put_some("VM_PID", vm.pid)
        .put("VMM", &vm.vmm);
}

fn event_priority(kind: ChangeKind, severity: Severity) -> &'static str {
    match (kind, severity) {
        (ChangeKind::Cleared, _) | (_, Severity::Info) => priority::INFO,
        (_, Severity::Notice) => priority::NOTICE,
        (_, Severity::Warning) => priority::WARNING,
        (_, Severity::Critical) => priority::CRITICAL,
    }
}

const fn status_priority(kind: StatusKind) -> &'static str {
    match kind {
        StatusKind::Lost { .. } | StatusKind::OutputLost { .. } | StatusKind::RecordingCut => {
            priority::WARNING
        }
        StatusKind::Uncertain | StatusKind::Suppressed { .. } | StatusKind::Uncounted { .. } => {
            priority::NOTICE
        }
        StatusKind::Certain | StatusKind::VmGone => priority::INFO,
    }
}

fn id(number: u128) -> String {
    format!("{number:032x}")
}

const fn flag(value: bool) -> &'static str {
    if value { "1" } else { "0" }
}
