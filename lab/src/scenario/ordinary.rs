//! Guests as Linux sets them up on a good day: logical flat, cluster, x2APIC and physical flat.

use crate::guest::lapic::{
    APIC_BASE_BSP, APIC_BASE_ENABLED, APIC_BASE_X2APIC, ApicReg, DFR_CLUSTER, DFR_FLAT, MSR_APIC_BASE,
    SVR_ENABLED, cluster_id,
};
use crate::guest::{Guest, GuestError, Op, layout};

/// 64-bit Linux's flat driver: `LDR = 1 << cpu` on at most eight vCPUs.
pub fn flat(vcpus: u32) -> Result<Guest, GuestError> {
    let ids: Vec<u8> = (0..vcpus.min(8)).map(|cpu| 1 << cpu).collect();
    flat_with(&ids)
}

/// Enabled flat vCPUs with these logical IDs, vCPU 0 first.
pub fn flat_with(logical_ids: &[u8]) -> Result<Guest, GuestError> {
    let mut guest = Guest::with_vcpus(logical_ids.len() as u32)?;
    for (id, logical_id) in (0..).zip(logical_ids) {
        guest.write_logical_id(id, DFR_FLAT, *logical_id, SVR_ENABLED)?;
    }
    Ok(guest)
}

/// xAPIC cluster mode: four vCPUs to a cluster, one bit each.
pub fn clustered(vcpus: u32) -> Result<Guest, GuestError> {
    let mut guest = Guest::with_vcpus(vcpus)?;
    for id in 0..vcpus {
        guest.write_logical_id(id, DFR_CLUSTER, cluster_id(id), SVR_ENABLED)?;
    }
    Ok(guest)
}

/// Every vCPU switches itself to x2APIC mode, then enables its APIC through the SVR's MSR.
pub fn x2apic(vcpus: u32) -> Result<Guest, GuestError> {
    let mut guest = Guest::with_vcpus(vcpus)?;
    for id in 0..vcpus {
        let bsp = if id == 0 { APIC_BASE_BSP } else { 0 };
        let apic_base = u64::from(layout::LAPIC) | APIC_BASE_ENABLED | APIC_BASE_X2APIC | bsp;
        let program = [
            Op::Wrmsr(MSR_APIC_BASE, apic_base),
            Op::Wrmsr(ApicReg::Svr.msr(), u64::from(SVR_ENABLED)),
        ];
        guest.exec(id, &program)?;
    }
    Ok(guest)
}

/// 64-bit Linux's physical-flat driver: APICs enabled, LDRs never written.
pub fn physical_flat(vcpus: u32) -> Result<Guest, GuestError> {
    let mut guest = Guest::with_vcpus(vcpus)?;
    for id in 0..vcpus {
        guest.exec(id, &[Op::ApicWrite(ApicReg::Svr, SVR_ENABLED)])?;
    }
    Ok(guest)
}
