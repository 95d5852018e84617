//! Domain values in words, for people: slots, effects, causes, registers, lists of vCPUs.

use std::collections::{BTreeMap, BTreeSet};

use probe_apic::{
    aim::{Aim, AimSource},
    cause::{Cause, Register, Route},
    finding::{Confidence, Effect, Finding},
    id::Slot,
};

use super::terminal::Style;
use crate::{
    clock::WallClock,
    engine::{output::StatusKind, view::HostView},
    escape::escape_line,
    identity::VmIdentity,
    message::{self, Map},
};

/// The heading of whatever shows a host: its kernel, its KVM, when, and by whose rules it is judged.
#[must_use]
pub fn heading(host: &HostView<'_>, wall: WallClock, style: Style) -> String {
    let rules = host.map_rules.map_or("unknown", |rules| rules.name());
    let title = format!(
        "kernel {}, kvm {}, map rules {rules}, at {}",
        escape_line(&host.facts.kernel),
        host.facts.kvm_vendor,
        wall.human(host.taken_at)
    );
    let as_kvm = host.as_kvm.map(|rules| {
        format!(
            "Judged as a KVM with map rules {rules} would treat the same registers; its own map is set aside."
        )
    });
    [Some(title), as_kvm]
        .into_iter()
        .flatten()
        .map(|paragraph| style.paragraph("", "  ", &paragraph))
        .collect()
}

/// `web (pid 42)`, safe to print.
#[must_use]
pub fn vm(vm: &VmIdentity) -> String {
    let name = escape_line(&vm.name);
    match vm.pid {
        Some(pid) if name != format!("pid {pid}") => format!("{name} (pid {pid})"),
        _ => name.into_owned(),
    }
}

/// Ascending numbers as runs: first and last of each.
#[must_use]
pub fn runs(numbers: impl IntoIterator<Item = u32>) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => runs.push((number, number)),
        }
    }
    runs
}

/// Ascending numbers with runs of three or more joined: `0-15, 17`.
#[must_use]
pub fn ranges(numbers: impl IntoIterator<Item = u32>) -> String {
    let words = runs(numbers).into_iter().map(|(first, last)| match last - first {
        0 => first.to_string(),
        1 => format!("{first}, {last}"),
        _ => format!("{first}-{last}"),
    });
    words.collect::<Vec<_>>().join(", ")
}

/// `vCPU 3` or `vCPUs 0-15`.
#[must_use]
pub fn vcpus(ids: &[u32]) -> String {
    let noun = if ids.len() == 1 { "vCPU" } else { "vCPUs" };
    format!("{noun} {}", ranges(ids.iter().copied()))
}

/// `3` for flat bit 3 or bit 3 of cluster 0, `2:3` for bit 3 of cluster 2.
#[must_use]
pub fn slot(slot: Slot) -> String {
    match slot.cluster {
        0 => slot.bit.to_string(),
        cluster => format!("{cluster}:{}", slot.bit),
    }
}

/// `slots 0, 1, 2:3`; nothing for none.
#[must_use]
pub fn slots(slots: &[Slot]) -> Option<String> {
    let noun = match slots.len() {
        0 => return None,
        1 => "slot",
        _ => "slots",
    };
    Some(format!(
        "{noun} {}",
        slots.iter().copied().map(slot).collect::<Vec<_>>().join(", ")
    ))
}

/// What a finding breaks, or that it breaks nothing.
#[must_use]
pub fn effect(effect: &Effect) -> String {
    let counts = [
        ("lost", effect.lost),
        ("misrouted", effect.misrouted),
        ("partial", effect.partial),
    ];
    let mut parts: Vec<String> = counts
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(verdict, count)| format!("{count} {verdict}"))
        .collect();
    if parts.is_empty() && !effect.slow {
        return "no destination is broken".to_owned();
    }
    let broken = !parts.is_empty();
    if effect.slow {
        let which = if broken { "the others" } else { "interrupts" };
        parts.push(format!("{which} arrive, but KVM scans all vCPUs for each"));
    }
    if broken {
        format!("of 255 destinations {}", parts.join(", "))
    } else {
        parts.join(", ")
    }
}

/// Who changed what, and by which route.
#[must_use]
pub fn cause(cause: &Cause) -> String {
    let mut words = match cause.route {
        Route::GuestWrite => "written by the guest".to_owned(),
        Route::SetLapic => "set by the VMM (KVM_SET_LAPIC)".to_owned(),
        Route::Reset => "reset".to_owned(),
        Route::Init => "INIT".to_owned(),
        Route::ApicBase => "APIC base or mode changed".to_owned(),
        Route::Scan => "not seen; found as it is".to_owned(),
    };
    if let Some(id) = cause.vcpu_id {
        words.push_str(&format!(", vCPU {id}"));
    }
    if let Some(register) = cause.register {
        words.push_str(&format!(", {}", register_name(register)));
        match (cause.old, cause.new) {
            (Some(old), Some(new)) => words.push_str(&format!(" {old:#010x} -> {new:#010x}")),
            (None, Some(new)) => words.push_str(&format!(" {new:#010x}")),
            _ => {}
        }
    }
    if let Some(task) = &cause.task {
        words.push_str(&format!(
            ", thread {} ({})",
            task.tid,
            escape_line(&task.comm.text())
        ));
    }
    if let Some(rip) = cause.guest_rip {
        words.push_str(&format!(", guest RIP {rip:#x}"));
    }
    if !cause.certain && cause.route != Route::Scan {
        words.push_str(", writer not certain");
    }
    words
}

/// What a map is, as a document tells it.
#[must_use]
pub fn map(map: Option<&Map>) -> String {
    let Some(map) = map else {
        return "not known".to_owned();
    };
    let what = match &*map.mode {
        "none" => "no map at all; KVM scans all vCPUs for every interrupt",
        "disabled" => "given up; KVM scans all vCPUs for every logical interrupt",
        "mixed" => "the vCPUs' modes are mixed; KVM scans all vCPUs for every logical interrupt",
        "sw-disabled" => "no enabled vCPU has a logical ID",
        "x2apic" => "by x2APIC ID; there are no slots",
        "flat" => "flat",
        "cluster" => "cluster",
        other => return escape_line(other).into_owned(),
    };
    what.to_owned()
}

/// The physical map in a sentence, and where the two differ; nothing where neither is known.
#[must_use]
pub fn physical_maps(maps: &message::Maps) -> Option<String> {
    let entries = |map: &Option<Map>| -> Option<BTreeMap<u32, u32>> {
        let entries = map.as_ref()?.physical.iter();
        Some(entries.map(|entry| (entry.apic_id, entry.vcpu_id)).collect())
    };
    let words = match (entries(&maps.published), entries(&maps.rebuilt)) {
        (Some(published), Some(rebuilt)) if published != rebuilt => {
            let places = published.keys().chain(rebuilt.keys());
            let differ: BTreeSet<u32> = places
                .filter(|id| published.get(id) != rebuilt.get(id))
                .copied()
                .collect();
            format!("The physical maps differ at APIC IDs {}.", ranges(differ))
        }
        (Some(map), _) | (None, Some(map)) => match map.len() {
            0 => "The physical map is empty.".to_owned(),
            1 => "The physical map has 1 entry.".to_owned(),
            entries => format!("The physical map has {entries} entries."),
        },
        (None, None) => return None,
    };
    Some(words)
}

/// A register as the SDM writes it.
#[must_use]
pub const fn register_name(register: Register) -> &'static str {
    match register {
        Register::Id => "ID",
        Register::Ldr => "LDR",
        Register::Dfr => "DFR",
        Register::Svr => "SVR",
        Register::ApicBase => "APIC base",
    }
}

/// What is to be said about how sure a finding is; nothing where it is plain.
#[must_use]
pub fn reservation(finding: &Finding) -> Option<&'static str> {
    match (finding.confidence, finding.suspected) {
        (Confidence::Certain, false) => None,
        (Confidence::Certain, true) => Some("suspected"),
        (_, false) => Some("uncertain state"),
        (_, true) => Some("suspected, uncertain state"),
    }
}

/// The same of a finding as a document tells it.
#[must_use]
pub fn told_reservation(finding: &message::Finding) -> Option<&'static str> {
    match (&*finding.confidence, finding.suspected) {
        ("certain", false) => None,
        ("certain", true) => Some("suspected"),
        (_, false) => Some("uncertain state"),
        (_, true) => Some("suspected, uncertain state"),
    }
}

/// What a status means, where its name does not say it all.
#[must_use]
pub fn status(kind: StatusKind) -> Option<String> {
    let words = match kind {
        StatusKind::Lost { records } => {
            format!("{} lost; every VM is read again", were(records, "record"))
        }
        StatusKind::Uncertain => "uncertain until it has been read again".to_owned(),
        StatusKind::Certain | StatusKind::VmGone => return None,
        StatusKind::RecordingCut => "the recording was cut here; what came later is not known".to_owned(),
        StatusKind::Suppressed { lines } => {
            format!("{} left out: more changed than may be told", were(lines, "line"))
        }
        StatusKind::Uncounted { interrupts } => {
            format!(
                "{} not counted, of which nobody knows where they went",
                were(interrupts, "interrupt")
            )
        }
        StatusKind::OutputLost { lines } => {
            format!("{} lost while this could not be written", were(lines, "line"))
        }
    };
    Some(words)
}

/// `1 line was`, `2 lines were`.
fn were(count: u64, noun: &str) -> String {
    match count {
        1 => format!("1 {noun} was"),
        _ => format!("{count} {noun}s were"),
    }
}

/// Sources of one kind with one target: `IOAPIC pin 2 -> destination 0x01, vector 0x30`.
#[must_use]
pub fn aims(aim: &Aim, indexes: &[u32]) -> String {
    let plural = if indexes.len() == 1 { "" } else { "s" };
    let sources = match aim.source {
        AimSource::Ioapic => format!("IOAPIC pin{plural} {}", ranges(indexes.iter().copied())),
        AimSource::MsiRoute => format!("MSI route{plural} {}", ranges(indexes.iter().copied())),
        AimSource::Icr => format!("last ICR of {}", vcpus(indexes)),
    };
    format!(
        "{sources} -> destination {:#04x}, vector {:#04x}",
        aim.dest, aim.vector
    )
}

#[cfg(test)]
mod tests {
    use probe_apic::{
        cause::Task,
        id::{BootTime, VcpuId},
    };

    use super::*;

    #[test]
    fn numbers_are_joined_into_ranges() {
        assert_eq!(ranges([]), "");
        assert_eq!(
            ranges([0, 1, 3, 4, 5, 6, u32::MAX - 1, u32::MAX]),
            "0, 1, 3-6, 4294967294, 4294967295"
        );
        assert_eq!(vcpus(&[7]), "vCPU 7");
        assert_eq!(vcpus(&[0, 1, 2]), "vCPUs 0-2");
    }

    #[test]
    fn an_effect_is_counted_or_denied() {
        let none = Effect::default();
        assert_eq!(effect(&none), "no destination is broken");
        assert_eq!(
            effect(&Effect {
                lost: 3,
                partial: 1,
                ..none
            }),
            "of 255 destinations 3 lost, 1 partial"
        );
        assert_eq!(
            effect(&Effect { slow: true, ..none }),
            "interrupts arrive, but KVM scans all vCPUs for each"
        );
    }

    #[test]
    fn a_status_that_counts_says_of_what() {
        let said = |kind| status(kind).unwrap_or_default();
        assert_eq!(
            said(StatusKind::Lost { records: 12 }),
            "12 records were lost; every VM is read again"
        );
        assert_eq!(
            said(StatusKind::Suppressed { lines: 1 }),
            "1 line was left out: more changed than may be told"
        );
        assert_eq!(
            said(StatusKind::OutputLost { lines: 7 }),
            "7 lines were lost while this could not be written"
        );
        assert_eq!(
            said(StatusKind::Uncounted { interrupts: 2000 }),
            "2000 interrupts were not counted, of which nobody knows where they went"
        );
        assert_eq!(said(StatusKind::Certain), "");
    }

    #[test]
    fn a_hostile_comm_is_harmless_in_a_cause() {
        let task = Task {
            tid: 12,
            tgid: 10,
            comm: "CPU 0/KVM\x1b[2J".into(),
        };
        let written = Cause {
            at: BootTime(0),
            route: Route::GuestWrite,
            vcpu_id: Some(VcpuId(0)),
            task: Some(task),
            register: Some(Register::Ldr),
            old: Some(0x0100_0000),
            new: Some(0x0300_0000),
            guest_rip: None,
            certain: false,
        };
        assert_eq!(
            cause(&written),
            "written by the guest, vCPU 0, LDR 0x01000000 -> 0x03000000, thread 12 (CPU 0/KVM\\x1b[2J), \
             writer not certain"
        );
    }
}
