//! What the registers of local APICs say, in the few words that a column has room for, and which vCPUs can share a row.

use probe_apic::{
    lapic::{ApicMode, Lapic},
    logical_id::Model,
    observation::VcpuSample,
    reg::Dfr,
};

use super::phrase;

/// Fewer neighbours than this keep rows of their own.
const MIN_RUN: usize = 3;

/// The rows of a table of vCPUs: first and last of neighbours that can share one.
pub(crate) fn runs(vcpus: &[VcpuSample]) -> impl Iterator<Item = (&VcpuSample, &VcpuSample)> {
    let mut rest = vcpus;
    std::iter::from_fn(move || {
        let first = rest.first()?;
        let alike = rest
            .windows(2)
            .take_while(|pair| follows(&pair[0], &pair[1]))
            .count()
            + 1;
        let length = if alike < MIN_RUN { 1 } else { alike };
        let (run, others) = rest.split_at(length);
        rest = others;
        Some((first, run.last()?))
    })
}

/// Whether `next` can share a row with `vcpu`.
fn follows(vcpu: &VcpuSample, next: &VcpuSample) -> bool {
    let (a, b) = (&vcpu.lapic, &next.lapic);
    let counts_up = |a: u32, b: u32| a.checked_add(1) == Some(b);
    counts_up(vcpu.id.0, next.id.0)
        && counts_up(a.apic_id().0, b.apic_id().0)
        && a.mode() == b.mode()
        && (a.dfr, a.svr, a.sw_enabled) == (b.dfr, b.svr, b.sw_enabled)
        && (a.ldr == b.ldr || (follows_from_id(a) && follows_from_id(b)))
}

/// SDM vol. 3, "Deriving Logical x2APIC ID from the Local x2APIC ID": cluster in the upper half, one bit below.
fn follows_from_id(lapic: &Lapic) -> bool {
    let id = lapic.apic_id().0;
    lapic.mode() == ApicMode::X2apic && lapic.ldr.0 == (id >> 4) << 16 | 1 << (id & 0xf)
}

/// The slots that the LDR names: `bits 0-2`, in a cluster `c2 bit 3`. None in x2APIC mode, where the logical
/// ID is no matter of slots.
pub(crate) fn logical_id(lapic: &Lapic) -> String {
    let id = lapic.xapic_logical_id().0;
    let (cluster, bits) = match (lapic.mode(), lapic.dfr.model_of_map()) {
        (ApicMode::X2apic, _) => return "-".to_owned(),
        (_, Model::Flat) => (String::new(), id),
        (_, Model::Cluster) => (format!("c{} ", id >> 4), id & 0xf),
    };
    let noun = match bits.count_ones() {
        0 => return format!("{cluster}none"),
        1 => "bit",
        _ => "bits",
    };
    let named = phrase::ranges((0..u8::BITS).filter(|bit| bits & (1 << bit) != 0)).replace(", ", ",");
    format!("{cluster}{noun} {named}")
}

/// The two legal DFR values by name, any other raw.
pub(crate) fn model(dfr: Dfr) -> String {
    match dfr.0 {
        u32::MAX => "flat".to_owned(),
        0x0fff_ffff => "cluster".to_owned(),
        raw => format!("{raw:#010x}"),
    }
}

/// Whether it accepts fixed interrupts, or what keeps it from doing so.
pub(crate) fn enabled(lapic: &Lapic) -> &'static str {
    match (lapic.hw_enabled(), lapic.sw_enabled) {
        (true, true) => "yes",
        (true, false) => "sw off",
        (false, _) => "hw off",
    }
}
