//! From a register's write to the finding: `latency_us` of the events, the settle time left out.

use std::thread;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::Figures;
use super::crowd;
use super::run::Run;
use crate::cases::CaseError;
use crate::contract::{Line, Rule, parse_line};
use crate::guest::Guest;
use crate::guest::lapic::{ApicReg, ldr};
use crate::scenario;

/// How much.
#[derive(Debug, Clone, Copy, Args)]
pub struct Plan {
    /// Collisions that come and go, for each way of watching
    #[arg(long, default_value_t = 100)]
    collisions: u32,
}

/// Between two: fewer than five a second, which would count as flapping.
const PAUSE: Duration = Duration::from_millis(400);

#[derive(Serialize)]
struct Latency {
    measure: &'static str,
    settle_ms: u64,
    host: &'static str,
    events: usize,
    p50_us: u64,
    p90_us: u64,
    p99_us: u64,
    most_us: u64,
}

pub(super) fn measure(plan: &Plan, out: &mut Figures<'_>) -> Result<(), CaseError> {
    for settle_ms in [0, 200] {
        let settle = format!("{settle_ms}ms");
        let mut guest = scenario::flat(2)?;
        let (run, _) = Run::watching(&["--settle", &settle])?;
        let mut tell = |host, mut times: Vec<u64>| {
            times.sort_unstable();
            let at = |percent: usize| times[(times.len() - 1) * percent / 100];
            out.tell(&Latency {
                measure: "latency",
                settle_ms,
                host,
                events: times.len(),
                p50_us: at(50),
                p90_us: at(90),
                p99_us: at(99),
                most_us: at(100),
            })
        };
        tell("quiet", collide(plan, &run, &mut guest)?)?;
        let mut storm = crowd::storm()?;
        tell("another VM storms", collide(plan, &run, &mut guest)?)?;
        storm.stop()?;
    }
    Ok(())
}

/// Lets a guest of two vCPUs collide and be sane again, time after time; the latencies of what is told of it.
fn collide(plan: &Plan, run: &Run, guest: &mut Guest) -> Result<Vec<u64>, CaseError> {
    let this = std::process::id();
    let of_collision = |line: &str| match parse_line(line) {
        Ok(Line::Event(event)) if event.vm.pid == this && event.finding.rule == Rule::LdrCollision => {
            Some(event.latency_us)
        }
        _ => None,
    };
    let mut times = Vec::new();
    for _ in 0..plan.collisions {
        for logical_id in [0x01, 0x02] {
            guest.edit_lapic(1, &[(ApicReg::Ldr, ldr(logical_id))])?;
            let (line, _) = run.await_line(|line| of_collision(line).is_some())?;
            times.extend(of_collision(&line));
        }
        thread::sleep(PAUSE);
    }
    Ok(times)
}
