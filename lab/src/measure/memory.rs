//! Resident memory and descriptors.

use std::thread;
use std::time::Duration;

use serde::Serialize;

use super::Figures;
use super::crowd;
use super::run::Run;
use crate::cases::CaseError;
use crate::outside::process::Footprint;

const VCPUS: u32 = 16;
/// What a start leaves to be done is done by then.
const CALM: Duration = Duration::from_secs(3);
const STORM: Duration = Duration::from_secs(5);

#[derive(Serialize)]
struct Memory {
    measure: &'static str,
    vms: u32,
    vcpus: u32,
    when: &'static str,
    resident_kib: u64,
    own_kib: u64,
    broker_peak_kib: u64,
    observer_peak_kib: u64,
    descriptors: u64,
}

pub(super) fn measure(out: &mut Figures<'_>) -> Result<(), CaseError> {
    for vms in [0, 100, 1000] {
        let _vms = crowd::huddle(vms, VCPUS)?;
        let (run, _) = Run::watching(&[])?;
        thread::sleep(CALM);
        let pids = run.processes()?;
        let mut tell = |when| {
            let both = Footprint::of_all(&pids)?;
            out.tell(&Memory {
                measure: "memory",
                vms,
                vcpus: VCPUS,
                when,
                resident_kib: both.resident_kib,
                own_kib: both.own_kib,
                broker_peak_kib: Footprint::of(pids[0])?.peak_kib,
                observer_peak_kib: Footprint::of(pids[1])?.peak_kib,
                descriptors: both.descriptors,
            })
        };
        tell("idle")?;
        let mut storm = crowd::storm()?;
        thread::sleep(STORM);
        tell("in a storm")?;
        storm.stop()?;
    }
    Ok(())
}
