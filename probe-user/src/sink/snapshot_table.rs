//! `snapshot` for people: per VM its vCPUs, both maps side by side, who aims where, and the findings.
//!
//! Made for 80 columns: vCPUs that look the same share a row, maps are shown by cluster, and only what
//! differs is repeated. The whole truth is in `snapshot --format json`.

mod maps;
mod vcpus;

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use probe_apic::{
    aim::{Aim, AimSource},
    apicv::Inhibit,
    finding::{Confidence, Finding},
};

use super::{phrase, terminal::Style};
use crate::escape::escape_line;
use crate::{
    clock::WallClock,
    engine::view::{HostView, VmView},
};

/// Groups of aims shown for one VM.
const MAX_AIMS: usize = 8;

/// Writes the whole host.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(out: &mut dyn Write, host: &HostView<'_>, wall: WallClock, style: Style) -> io::Result<()> {
    out.write_all(phrase::heading(host, wall, style).as_bytes())?;
    if host.vms.is_empty() {
        writeln!(out, "\nThere is no VM on this host.")?;
    }
    for view in &host.vms {
        writeln!(out)?;
        write_vm(out, view, wall, style)?;
    }
    out.flush()
}

fn write_vm(out: &mut dyn Write, view: &VmView<'_>, wall: WallClock, style: Style) -> io::Result<()> {
    let vm = view.vm;
    write!(out, "{}", style.paragraph("", "  ", &headline(view)))?;
    if vm.confidence() == Confidence::Unobservable {
        return writeln!(
            out,
            "  The VMM emulates the local APICs itself: KVM has none to look at."
        );
    }
    if !vm.sampled_yet() {
        return writeln!(out, "  It has not been possible to read this VM yet.");
    }
    vcpus::write(out, vm.vcpus())?;
    maps::write(out, vm)?;
    if !vm.inhibits().is_empty() {
        let names: Vec<&str> = vm.inhibits().iter().map(Inhibit::name).collect();
        let words = escape_line(&names.join(", ")).into_owned();
        write!(
            out,
            "{}",
            style.paragraph("  APICv inhibited by: ", "    ", &words)
        )?;
    }
    write_aims(out, vm.logical_aims())?;
    write_findings(out, &view.findings, wall, style)
}

fn headline(view: &VmView<'_>) -> String {
    let identity = view.identity;
    let mut words = vec![format!("vmm {}", escape_line(&identity.vmm))];
    words.extend(identity.uuid.as_ref().map(|uuid| format!("uuid {uuid}")));
    let count = view.vm.vcpus().len();
    words.push(format!("{count} vCPU{}", if count == 1 { "" } else { "s" }));
    if view.vm.confidence() == Confidence::Uncertain {
        words.push("state uncertain".to_owned());
    }
    format!("VM {}: {}", phrase::vm(identity), words.join(", "))
}

/// Sources of one kind with the same destination and vector share a line.
fn write_aims<'a>(out: &mut dyn Write, aims: impl Iterator<Item = &'a Aim>) -> io::Result<()> {
    let mut groups: BTreeMap<(AimSource, u32, u8), (&Aim, Vec<u32>)> = BTreeMap::new();
    for aim in aims {
        let group = groups
            .entry((aim.source, aim.dest, aim.vector))
            .or_insert((aim, Vec::new()));
        group.1.push(aim.index);
    }
    for (aim, indexes) in groups.values_mut().take(MAX_AIMS) {
        indexes.sort_unstable();
        writeln!(out, "  aimed: {}", phrase::aims(aim, indexes))?;
    }
    match groups.len().saturating_sub(MAX_AIMS) {
        0 => Ok(()),
        more => writeln!(out, "  aimed: {more} more"),
    }
}

fn write_findings(
    out: &mut dyn Write,
    findings: &[Finding],
    wall: WallClock,
    style: Style,
) -> io::Result<()> {
    if findings.is_empty() {
        return writeln!(out, "  no findings");
    }
    let mut worst_first: Vec<&Finding> = findings.iter().collect();
    worst_first.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    for finding in worst_first {
        let mut line = format!(
            "  {} {}",
            style.severity(finding.severity),
            finding.key.rule.name()
        );
        line.extend(phrase::slots(&finding.slots).map(|slots| format!(", {slots}")));
        line.extend(phrase::reservation(finding).map(|words| format!(" [{words}]")));
        line.extend(
            finding
                .since
                .map(|since| format!(", since {}", wall.human(since))),
        );
        writeln!(out, "{line}")?;
        write!(
            out,
            "{}",
            style.paragraph("    ", "    ", &escape_line(&finding.summary))
        )?;
        write!(
            out,
            "{}",
            style.paragraph("    effect: ", "      ", &phrase::effect(&finding.effect))
        )?;
        if let Some(cause) = &finding.cause {
            write!(
                out,
                "{}",
                style.paragraph("    cause: ", "      ", &phrase::cause(cause))
            )?;
        }
    }
    Ok(())
}
