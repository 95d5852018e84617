//! What one event takes of the host's CPUs, beside VMs that do nothing.

use std::thread;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::Figures;
use super::crowd;
use super::run::Run;
use crate::cases::CaseError;
use crate::guest::lapic::{ApicReg, ldr};
use crate::outside::process::cpu_time;
use crate::scenario;

/// How much.
#[derive(Debug, Clone, Args)]
pub struct Plan {
    /// Events for each number of VMs
    #[arg(long, default_value_t = 500)]
    events: u32,
    /// Numbers of VMs that do nothing
    #[arg(long, value_delimiter = ',', default_values_t = [0, 1000])]
    others: Vec<u32>,
}

/// Of those that do nothing.
const VCPUS: u32 = 2;
const CALM: Duration = Duration::from_secs(3);
/// Between two events: each is taken in by itself.
const PAUSE: Duration = Duration::from_millis(3);

#[derive(Serialize)]
struct Event {
    measure: &'static str,
    others: u32,
    events: u32,
    /// Of the process that reads, what it takes in the same time where nothing happens left out.
    cpu_ns: u64,
}

pub(super) fn measure(plan: &Plan, out: &mut Figures<'_>) -> Result<(), CaseError> {
    for &others in &plan.others {
        let cpu_ns = of_one(others, plan.events)?;
        out.tell(&Event {
            measure: "event",
            others,
            events: plan.events,
            cpu_ns,
        })?;
    }
    Ok(())
}

/// CPU nanoseconds of one event: a sane guest's vCPU takes one free slot after another.
pub(crate) fn of_one(others: u32, events: u32) -> Result<u64, CaseError> {
    let _vms = crowd::huddle(others, VCPUS)?;
    let guest = scenario::flat(2)?;
    let (run, _) = Run::watching(&[])?;
    thread::sleep(CALM);
    let [_, reader] = run.processes()?;
    let spent_with = |act: &mut dyn FnMut(u32) -> Result<(), CaseError>| {
        let before = cpu_time(reader)?;
        for number in 0..events {
            act(number)?;
            thread::sleep(PAUSE);
        }
        Ok::<_, CaseError>(cpu_time(reader)? - before)
    };
    let idle = spent_with(&mut |_| Ok(()))?;
    let busy = spent_with(&mut |number| {
        let logical_id = 0x02 << (number % 7);
        Ok(guest.edit_lapic(1, &[(ApicReg::Ldr, ldr(logical_id))])?)
    })?;
    Ok(busy.saturating_sub(idle).as_nanos() as u64 / u64::from(events))
}
