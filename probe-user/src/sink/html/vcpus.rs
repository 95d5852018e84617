//! The vCPU table: registers raw, and the LDR's logical ID bit by bit. Neighbours that look the same share a row.

use maud::{Markup, html};
use probe_apic::{
    id::{VcpuId, VcpuIdx},
    lapic::{ApicMode, Lapic},
    observation::VcpuSample,
};

use crate::{
    message::{Vcpu, meaning},
    sink::registers::{enabled, logical_id, model, runs},
};

/// Rows that are shown at once; the rest is on demand.
const SHOWN: usize = 64;

pub(super) fn table(vcpus: &[Vcpu]) -> Markup {
    let samples: Vec<VcpuSample> = (0..).zip(vcpus).map(|(idx, vcpu)| sample(idx, vcpu)).collect();
    let rows: Vec<_> = runs(&samples).collect();
    let (shown, rest) = rows.split_at(rows.len().min(SHOWN));
    html! {
        (rows_table(shown))
        @if !rest.is_empty() {
            details {
                summary { (rest.len()) " more rows" }
                (rows_table(rest))
            }
        }
    }
}

fn sample(idx: u32, vcpu: &Vcpu) -> VcpuSample {
    VcpuSample {
        idx: VcpuIdx(idx),
        id: VcpuId(vcpu.vcpu_id),
        lapic: meaning::lapic(vcpu),
    }
}

fn rows_table(rows: &[(&VcpuSample, &VcpuSample)]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="vCPUs" {
            table.vcpus {
                thead {
                    tr {
                        th { "vCPU" } th { "APIC ID" } th { "mode" } th { "enabled" } th { "LDR" }
                        th { "LDR bits 31:24" } th { "names" } th { "DFR" } th { "SVR" } th { "APIC base" }
                    }
                }
                tbody { @for (first, last) in rows { (row(first, last)) } }
            }
        }
    }
}

fn row(first: &VcpuSample, last: &VcpuSample) -> Markup {
    let lapic = &first.lapic;
    let several = first.idx != last.idx;
    let is_x2apic = lapic.mode() == ApicMode::X2apic;
    html! {
        tr.off[!lapic.enabled()] data-vcpu=(span(first.id.0, last.id.0)) {
            td.whole { (span(first.id.0, last.id.0)) }
            td.whole { (span(lapic.apic_id().0, last.lapic.apic_id().0)) }
            td.whole { (lapic.mode()) }
            td.whole { (enabled(lapic)) }
            td.mono {
                @if several && is_x2apic { "from ID" } @else { (lapic.ldr) }
            }
            td { @if is_x2apic { "-" } @else { (bits(lapic)) } }
            td.whole { (logical_id(lapic)) }
            td.whole { @if is_x2apic { "-" } @else { (model(lapic.dfr)) } }
            td.mono { (format!("{:#05x}", lapic.svr.0)) }
            td.mono { (lapic.apic_base) }
        }
    }
}

fn span(from: u32, to: u32) -> String {
    if from == to {
        from.to_string()
    } else {
        format!("{from}-{to}")
    }
}

/// The logical ID, highest bit first; what is set is set off.
fn bits(lapic: &Lapic) -> Markup {
    let id = lapic.xapic_logical_id().0;
    html! {
        span.bits.mono {
            @for bit in (0..u8::BITS).rev() {
                @if id & (1 << bit) != 0 { b { "1" } } @else { "0" }
                @if bit == 4 { " " }
            }
        }
    }
}
