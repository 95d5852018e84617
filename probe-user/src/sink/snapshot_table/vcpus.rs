//! The vCPU table. Neighbours that look the same share a row: the same registers, and APIC IDs that count
//! up with the vCPU ids.

use std::io::{self, Write};

use probe_apic::{lapic::ApicMode, observation::VcpuSample};

use crate::sink::registers::{enabled, logical_id, model, runs};

pub(super) fn write(out: &mut dyn Write, vcpus: &[VcpuSample]) -> io::Result<()> {
    writeln!(
        out,
        "  {:<9} {:<7} {:<8} {:<10} {:<12} {:<10} {:<7} ENABLED",
        "VCPU", "APIC ID", "MODE", "LDR", "LOGICAL ID", "DFR", "SVR"
    )?;
    for (first, last) in runs(vcpus) {
        row(out, first, last)?;
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
