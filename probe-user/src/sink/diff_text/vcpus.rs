//! What changed in vCPUs: those that changed alike together, a line a register.

use std::collections::BTreeMap;

use crate::{
    escape::escape_line,
    message::{
        Vcpu,
        diff::{Presence, VcpuDiff},
        meaning,
    },
    sink::{
        phrase,
        registers::{enabled, logical_id, model},
        terminal::Style,
    },
};

/// Groups of vCPUs that changed alike and are shown of one VM.
const MAX_GROUPS: usize = 16;

pub(super) fn write(text: &mut String, vcpus: &[VcpuDiff], style: Style) {
    for (presence, words) in [(Presence::Came, "came"), (Presence::Went, "went")] {
        let ids: Vec<u32> = of(vcpus, presence).map(|vcpu| vcpu.vcpu_id).collect();
        if !ids.is_empty() {
            text.push_str(&style.prose("  ", "    ", &format!("{}: {words}", phrase::vcpus(&ids))));
        }
    }
    let groups = groups(vcpus);
    for (ids, lines) in groups.iter().take(MAX_GROUPS) {
        text.push_str(&style.prose("  ", "    ", &phrase::vcpus(ids)));
        for line in lines {
            text.push_str(&style.prose("    ", "              ", line));
        }
    }
    let more: usize = groups.iter().skip(MAX_GROUPS).map(|(ids, _)| ids.len()).sum();
    if more > 0 {
        let words = format!("and {more} more vCPUs, each in its own way: see --format json");
        text.push_str(&style.prose("  ", "    ", &words));
    }
}

fn of(vcpus: &[VcpuDiff], presence: Presence) -> impl Iterator<Item = &VcpuDiff> {
    vcpus.iter().filter(move |vcpu| vcpu.change == presence)
}

/// vCPUs with the same lines, in the order of the first of each.
fn groups(vcpus: &[VcpuDiff]) -> Vec<(Vec<u32>, Vec<String>)> {
    let mut index: BTreeMap<Vec<String>, usize> = BTreeMap::new();
    let mut groups: Vec<(Vec<u32>, Vec<String>)> = Vec::new();
    for vcpu in of(vcpus, Presence::Changed) {
        if let (Some(before), Some(after)) = (&vcpu.before, &vcpu.after) {
            let lines = lines(before, after);
            let at = *index.entry(lines.clone()).or_insert_with(|| {
                groups.push((Vec::new(), lines));
                groups.len() - 1
            });
            groups[at].0.push(vcpu.vcpu_id);
        }
    }
    groups
}

/// Raw, and behind that what it says.
fn lines(before: &Vcpu, after: &Vcpu) -> Vec<String> {
    let rows = |vcpu: &Vcpu| {
        let lapic = meaning::lapic(vcpu);
        [
            ("mode", escape_line(&vcpu.mode).into_owned()),
            ("enabled", enabled(&lapic).to_owned()),
            ("APIC ID", vcpu.apic_id.to_string()),
            ("LDR", format!("{} ({})", lapic.ldr, logical_id(&lapic))),
            ("DFR", format!("{} ({})", lapic.dfr, model(lapic.dfr))),
            ("SVR", lapic.svr.to_string()),
            ("APIC base", lapic.apic_base.to_string()),
        ]
    };
    rows(before)
        .into_iter()
        .zip(rows(after))
        .filter(|(before, after)| before != after)
        .map(|((register, before), (_, after))| format!("{register:<9} {before} -> {after}"))
        .collect()
}
