//! `diff` for people: VM by VM what changed, a line a register and a slot; vCPUs that changed alike share their lines.
//!
//! Of what there is much of the first is shown and the rest counted. The whole truth is in `diff --format json`.

mod findings;
mod maps;
mod vcpus;

use std::io::{self, Write};

use super::{phrase, terminal::Style};
use crate::{
    escape::escape_line,
    message::{
        Aimed, Host, VmRef,
        diff::{Diff, MatchedBy, Presence, Side, VmDiff},
        meaning,
    },
};

/// Sources shown that began, and that ceased, to aim somewhere.
const MAX_AIMS: usize = 8;

/// Writes what is different.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(out: &mut dyn Write, diff: &Diff, style: Style) -> io::Result<()> {
    let mut text = side("before", &diff.before, style) + &side("after", &diff.after, style);
    for member in &diff.host {
        let value = |host: &Host| match *member {
            "kernel" => ("kernel", escape_line(&host.kernel).into_owned()),
            "kvm_vendor" => ("kvm", escape_line(&host.kvm_vendor).into_owned()),
            _ => ("map rules", escape_line(&host.map_rules).into_owned()),
        };
        let ((name, before), (_, after)) = (value(&diff.before.host), value(&diff.after.host));
        text.push_str(&style.prose("", "  ", &format!("host: {name} {before} -> {after}")));
    }
    for vm in &diff.vms {
        text.push('\n');
        write_vm(&mut text, vm, style);
    }
    text.push('\n');
    text.push_str(&closing(diff));
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn side(which: &str, side: &Side, style: Style) -> String {
    let words = format!(
        "{which}: {}, taken at {}: kernel {}, kvm {}, map rules {}",
        side.source, side.taken_at, side.host.kernel, side.host.kvm_vendor, side.host.map_rules
    );
    style.prose("", "  ", &escape_line(&words))
}

fn closing(diff: &Diff) -> String {
    let vms = match diff.same {
        0 => {
            return if diff.different {
                "Nothing else.\n"
            } else {
                "No VM in either.\n"
            }
            .to_owned();
        }
        1 => "1 VM is".to_owned(),
        count => format!("{count} VMs are"),
    };
    let others = if diff.vms.is_empty() {
        ""
    } else {
        "The rest is as it was: "
    };
    let end = if diff.different { "" } else { "; nothing differs" };
    format!("{others}{vms} the same in both{end}.\n")
}

fn write_vm(text: &mut String, vm: &VmDiff, style: Style) {
    text.push_str(&style.prose("", "  ", &headline(vm)));
    if vm.change == Presence::Changed {
        let mut lines = identity(vm);
        if let Some(change) = &vm.confidence {
            lines.push(format!("state: {} -> {}", change.before, change.after));
        }
        for line in lines {
            text.push_str(&style.prose("  ", "    ", &escape_line(&line)));
        }
        vcpus::write(text, &vm.vcpus, style);
        maps::write(text, &vm.map, style);
        for line in inhibits(vm).into_iter().chain(aims(vm)) {
            text.push_str(&style.prose("  ", "    ", &line));
        }
    }
    findings::write(text, &vm.findings, style);
}

/// Of a VM that came or went its size and its findings say enough.
fn headline(vm: &VmDiff) -> String {
    let who = vm.after.as_ref().or(vm.before.as_ref());
    let who = who.map_or_else(String::new, |vm| phrase::vm(&meaning::identity(vm)));
    let vcpus = match vm.vcpus.len() {
        1 => "1 vCPU".to_owned(),
        count => format!("{count} vCPUs"),
    };
    let what = match (vm.change, vm.matched_by) {
        (Presence::Came, _) => format!("came, with {vcpus}"),
        (Presence::Went, _) => format!("went, with {vcpus}"),
        (Presence::Changed, Some(MatchedBy::Pid)) => {
            "changed (found again by its process and name)".to_owned()
        }
        (Presence::Changed, Some(MatchedBy::Name)) => "changed (found again by its name)".to_owned(),
        (Presence::Changed, Some(MatchedBy::Uuid) | None) => "changed".to_owned(),
    };
    format!("VM {who}: {what}")
}

/// What is not the same of who it is; not escaped.
fn identity(vm: &VmDiff) -> Vec<String> {
    let rows = |vm: &Option<VmRef>| {
        let text =
            |of: fn(&VmRef) -> Option<String>| vm.as_ref().and_then(of).unwrap_or_else(|| "none".to_owned());
        [
            ("name", text(|vm| Some(vm.name.clone()))),
            ("uuid", text(|vm| vm.uuid.clone())),
            ("vmm", text(|vm| Some(vm.vmm.clone()))),
            ("pid", text(|vm| vm.pid.map(|pid| pid.to_string()))),
        ]
    };
    rows(&vm.before)
        .into_iter()
        .zip(rows(&vm.after))
        .filter(|(before, after)| before != after)
        .map(|((member, before), (_, after))| format!("{member}: {before} -> {after}"))
        .collect()
}

fn inhibits(vm: &VmDiff) -> Vec<String> {
    let said = [
        ("APICv is now inhibited by", &vm.apicv.set),
        ("APICv is no longer inhibited by", &vm.apicv.cleared),
    ];
    said.into_iter()
        .filter(|(_, reasons)| !reasons.is_empty())
        .map(|(words, reasons)| escape_line(&format!("{words}: {}", reasons.join(", "))).into_owned())
        .collect()
}

fn aims(vm: &VmDiff) -> Vec<String> {
    let mut lines = Vec::new();
    for (words, aims) in [("now aimed", &vm.aimed.came), ("no longer aimed", &vm.aimed.went)] {
        let shown = aims.iter().take(MAX_AIMS);
        lines.extend(shown.map(|aimed| format!("{words}: {}", aim(aimed))));
        let more = aims.len().saturating_sub(MAX_AIMS);
        if more > 0 {
            lines.push(format!("{words}: {more} more"));
        }
    }
    lines
}

fn aim(aimed: &Aimed) -> String {
    match meaning::aim(aimed) {
        Some(aim) => phrase::aims(&aim, &[aim.index]),
        None => format!("{} {}", escape_line(&aimed.source), aimed.index),
    }
}
