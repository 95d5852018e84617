//! The vCPU table. Neighbours that look the same share a row: the same registers, and APIC IDs that count
//! up with the vCPU ids.

use std::io::{self, Write};

use probe_apic::{
    lapic::{ApicMode, Lapic},
    observation::VcpuSample,
};

use crate::sink::registers::{enabled, logical_id, model};

/// Fewer neighbours than this keep rows of their own.
const MIN_RUN: usize = 3;

pub(super) fn write(out: &mut dyn Write, vcpus: &[VcpuSample]) -> io::Result<()> {
    writeln!(
        out,
        "  {:<9} {:<7} {:<8} {:<10} {:<12} {:<10} {:<7} ENABLED",
        "VCPU", "APIC ID", "MODE", "LDR", "LOGICAL ID", "DFR", "SVR"
    )?;
    let mut rest = vcpus;
    while let Some(first) = rest.first() {
        let alike = rest
            .windows(2)
            .take_while(|pair| follows(&pair[0], &pair[1]))
            .count()
            + 1;
        let length = if alike < MIN_RUN { 1 } else { alike };
        row(out, first, &rest[length - 1])?;
        rest = &rest[length..];
    }
    Ok(())
}

fn row(out: &mut dyn Write, first: &VcpuSample, last: &VcpuSample) -> io::Result<()> {
    let lapic = &first.lapic;
    let span = |from: u32, to: u32| {
        if from == to {
            from.to_string()
        } else {
            format!("{from}-{to}")
        }
    };
    // In x2APIC mode the LDR follows from the ID, so a row of several has no single one.
    let ldr = if first.idx != last.idx && lapic.mode() == ApicMode::X2apic {
        "from ID".to_owned()
    } else {
        format!("{:#010x}", lapic.ldr.0)
    };
    writeln!(
        out,
        "  {:<9} {:<7} {:<8} {ldr:<10} {:<12} {:<10} {:<#7x} {}",
        span(first.id.0, last.id.0),
        span(lapic.apic_id().0, last.lapic.apic_id().0),
        lapic.mode().name(),
        logical_id(lapic),
        model(lapic.dfr),
        lapic.svr.0,
        enabled(lapic),
    )
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
