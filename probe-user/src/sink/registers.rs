//! What the registers of one local APIC say, in the few words that a column has room for.

use probe_apic::{
    lapic::{ApicMode, Lapic},
    logical_id::Model,
    reg::Dfr,
};

use super::phrase;

/// The slots that the LDR names: `bits 0-2`, in a cluster `c2 bit 3`. None in x2APIC mode, where the logical
/// ID is no matter of slots.
pub(super) fn logical_id(lapic: &Lapic) -> String {
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
pub(super) fn model(dfr: Dfr) -> String {
    match dfr.0 {
        u32::MAX => "flat".to_owned(),
        0x0fff_ffff => "cluster".to_owned(),
        raw => format!("{raw:#010x}"),
    }
}

/// Whether it accepts fixed interrupts, or what keeps it from doing so.
pub(super) fn enabled(lapic: &Lapic) -> &'static str {
    match (lapic.hw_enabled(), lapic.sw_enabled) {
        (true, true) => "yes",
        (true, false) => "sw off",
        (false, _) => "hw off",
    }
}
