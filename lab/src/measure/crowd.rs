//! VMs that do nothing, many of them, in a few processes or in one each; and one that storms beside them.

use crate::cases::CaseError;
use crate::load::{End, Kind, Load, LoadProcess};

/// The most that one process holds: each vCPU is a file.
const VMS_OF_ONE: u32 = 50;

/// Starts processes that hold `vms` VMs of `vcpus` in all, each of them as many as `a_process`.
pub(super) fn gather(vms: u32, vcpus: u32, a_process: u32, end: End) -> Result<Vec<LoadProcess>, CaseError> {
    let a_process = a_process.clamp(1, VMS_OF_ONE);
    let mut left = vms;
    let mut processes = Vec::new();
    while left > 0 {
        let load = Load {
            kind: Kind::Idle,
            vms: left.min(a_process),
            vcpus,
            end,
        };
        left -= load.vms;
        processes.push(LoadProcess::start(&load)?);
    }
    Ok(processes)
}

/// The same, as many a process as one can hold.
pub(super) fn huddle(vms: u32, vcpus: u32) -> Result<Vec<LoadProcess>, CaseError> {
    gather(vms, vcpus, VMS_OF_ONE, End::Sane)
}

/// One VM whose eight vCPUs write their LDRs as fast as they can, under way.
pub(super) fn storm() -> Result<LoadProcess, CaseError> {
    let mut storm = LoadProcess::start(&Load {
        kind: Kind::Storm,
        vms: 1,
        vcpus: 8,
        end: End::Sane,
    })?;
    storm.go()?;
    Ok(storm)
}
