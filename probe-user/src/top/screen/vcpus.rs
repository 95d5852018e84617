//! A VM's vCPUs: the registers that decide about its map, the LDR bit by bit, and what changed last.

use probe_apic::{
    cause::Cause,
    lapic::{ApicMode, Lapic},
};
use ratatui::{style::Style, text::Line};

use super::theme::Theme;
use crate::{
    clock::WallClock,
    message::{Vcpu, meaning},
    sink::{
        phrase,
        registers::{enabled, logical_id, model},
    },
    top::model::detail::Detail,
};

/// From this width on the slots are named, and the change is shown in full.
const ROOMY: u16 = 96;

pub(super) fn heading(width: u16, theme: Theme) -> Line<'static> {
    let names = if width >= ROOMY {
        format!(" {:<12}", "names")
    } else {
        String::new()
    };
    let text = format!(
        " {:>4} {:>4} {:<6} {:<10} {:<9}{names} {:<10} {:<5} {}",
        "vCPU", "ID", "state", "LDR", "bits", "DFR", "SVR", "last change"
    );
    Line::styled(text, theme.strong())
}

/// One vCPU of a VM that has it.
pub(super) fn line(detail: &Detail, at: usize, wall: WallClock, width: u16, theme: Theme) -> Line<'static> {
    let Some(vcpu) = detail.vm.vcpus.get(at) else {
        return Line::default();
    };
    let change = detail.changes.get(at).and_then(Option::as_ref);
    let lapic = meaning::lapic(vcpu);
    let style = if lapic.enabled() {
        Style::new()
    } else {
        theme.quiet()
    };
    let names = if width >= ROOMY {
        format!(" {:<12}", logical_id(&lapic))
    } else {
        String::new()
    };
    let text = format!(
        " {:>4} {:>4} {:<6} {:<10} {:<9}{names} {:<10} {:<5} {}",
        vcpu.vcpu_id,
        vcpu.apic_id,
        state(&lapic),
        lapic.ldr.to_string(),
        bits(vcpu, &lapic),
        dfr(&lapic),
        format!("{:#05x}", lapic.svr.0),
        change.map_or_else(
            || "not seen".to_owned(),
            |change| last_change(change, wall, width)
        ),
    );
    Line::styled(text, style)
}

/// Its mode, or what keeps it from taking part.
fn state(lapic: &Lapic) -> &'static str {
    if lapic.enabled() {
        lapic.mode().name()
    } else {
        enabled(lapic)
    }
}

/// The logical ID of xAPIC mode, highest bit first.
fn bits(vcpu: &Vcpu, lapic: &Lapic) -> String {
    if lapic.mode() == ApicMode::X2apic {
        return "-".to_owned();
    }
    let id = vcpu.ldr >> 24;
    format!("{:04b} {:04b}", id >> 4, id & 0xf)
}

fn dfr(lapic: &Lapic) -> String {
    if lapic.mode() == ApicMode::X2apic {
        "-".to_owned()
    } else {
        model(lapic.dfr)
    }
}

fn last_change(change: &Cause, wall: WallClock, width: u16) -> String {
    let moment = wall.time_of_day(change.at);
    let mut text = format!("{} {}", moment.trim_end_matches('Z'), change.route);
    if let Some(register) = change.register.filter(|_| width >= ROOMY) {
        text.push_str(&format!(" {}", phrase::register_name(register)));
    }
    text
}
