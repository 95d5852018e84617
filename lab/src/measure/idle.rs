//! CPU time where nothing happens.

use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::Figures;
use super::crowd;
use super::run::Run;
use crate::cases::CaseError;
use crate::outside::process::cpu_time;

const VCPUS: u32 = 16;
/// What a start leaves to be done is done by then.
const CALM: Duration = Duration::from_secs(5);
const LENGTH: Duration = Duration::from_secs(30);

#[derive(Serialize)]
struct Idle {
    measure: &'static str,
    vms: u32,
    vcpus: u32,
    seconds: f64,
    broker_cpu_us: u64,
    observer_cpu_us: u64,
    /// Of one core.
    percent: f64,
}

pub(super) fn measure(out: &mut Figures<'_>) -> Result<(), CaseError> {
    for vms in [0, 10, 100] {
        let _vms = crowd::huddle(vms, VCPUS)?;
        let (run, _) = Run::watching(&[])?;
        thread::sleep(CALM);
        let pids = run.processes()?;
        let spent = || -> Result<[Duration; 2], CaseError> { Ok([cpu_time(pids[0])?, cpu_time(pids[1])?]) };
        let (before, start) = (spent()?, Instant::now());
        thread::sleep(LENGTH);
        let (after, length) = (spent()?, start.elapsed());
        let [broker, observer] = [after[0] - before[0], after[1] - before[1]];
        out.tell(&Idle {
            measure: "idle",
            vms,
            vcpus: VCPUS,
            seconds: length.as_secs_f64(),
            broker_cpu_us: broker.as_micros() as u64,
            observer_cpu_us: observer.as_micros() as u64,
            percent: (broker + observer).as_secs_f64() / length.as_secs_f64() * 100.0,
        })?;
    }
    Ok(())
}
