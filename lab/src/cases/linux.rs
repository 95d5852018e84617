//! No false alarm: a stock Linux guest does what healthy guests do (SMP boot, CPUs off and on, restart, kexec, a crash and its
//! kdump kernel) and `watch` says nothing above `notice` of it. After each
//! step the guest's own words, QEMU's account of the registers and a snapshot must tell the same story (`linux/account`).

mod account;

use std::io::{self, Write as _};
use std::thread;
use std::time::Duration;

use lab_protocol::Scale;

use self::account::Account;
use super::{Bench, CaseError, CaseResult, Context, require};
use crate::contract::{Finding, Rule, Severity, Status, StatusKind};
use crate::host::Series;
use crate::linux_guest::talk::{Request, State};
use crate::linux_guest::{CPUS, LinuxGuest, Routing};
use crate::tool::{PATIENCE, Watch};

/// Four settle times: what is to be raised has been raised.
const SETTLED: Duration = Duration::from_millis(800);
/// The timer of a kernel that runs fires within this, however slow the machine.
const TICKING: Duration = Duration::from_secs(2);

pub(super) fn flat(context: &Context, bench: &mut Bench) -> CaseResult {
    live(Routing::Flat, context, bench)
}

pub(super) fn physical_flat(context: &Context, bench: &mut Bench) -> CaseResult {
    live(Routing::PhysicalFlat, context, bench)
}

pub(super) fn x2apic(context: &Context, bench: &mut Bench) -> CaseResult {
    live(Routing::X2apic, context, bench)
}

/// The CPUs that a soak has the guest crash on, a round each: the boot CPU, and one whose kdump kernel takes over the logical
/// ID that the boot CPU leaves behind.
const CRASHED: [u32; 2] = [0, 2];

/// A guest's life under `watch`: in a test an SMP boot, one CPU off and on, and a kdump; in a soak all of it, for each of
/// [`CRASHED`].
fn live(routing: Routing, context: &Context, bench: &mut Bench) -> CaseResult {
    let watch = bench.watch(context.hooks)?;
    let (guest, state) = LinuxGuest::power_on(routing)?;
    let mut story = Story {
        watch,
        guest,
        routing,
    };
    story.holds("boot", &state, &all_running())?;
    match context.scale {
        Scale::Test => {
            story.off_and_on(3)?;
            story.crash_on(2)
        }
        Scale::Soak => CRASHED.into_iter().try_for_each(|cpu| {
            (1..CPUS).try_for_each(|cpu| story.off_and_on(cpu))?;
            story.comes_back_by(Request::Reboot)?;
            story.does(Request::LoadNext, &all_running())?;
            story.comes_back_by(Request::Kexec)?;
            story.crash_on(cpu)?;
            story.comes_back_by(Request::Reboot)
        }),
    }
}

/// A CPU that runs: Linux's number and its APIC ID.
type Running = (u32, u32);

fn all_running() -> Vec<Running> {
    (0..CPUS).map(|cpu| (cpu, cpu)).collect()
}

struct Story<'a> {
    watch: &'a mut Watch,
    guest: LinuxGuest,
    routing: Routing,
}

impl Story<'_> {
    fn does(&mut self, request: Request, running: &[Running]) -> CaseResult {
        let state = self.guest.ask(request)?;
        self.holds(&format!("{request:?}"), &state, running)
    }

    fn off_and_on(&mut self, cpu: u32) -> CaseResult {
        let all = all_running();
        let others: Vec<_> = all.iter().copied().filter(|&(number, _)| number != cpu).collect();
        self.does(Request::Offline(cpu), &others)?;
        self.does(Request::Online(cpu), &all)
    }

    /// A request after which a kernel runs on all CPUs again.
    fn comes_back_by(&mut self, request: Request) -> CaseResult {
        let state = self.guest.leave_by(request)?;
        require(!state.after_crash, || {
            format!("{request:?} should bring the guest back without a crash; its console has more")
        })?;
        self.holds(&format!("{request:?}"), &state, &all_running())
    }

    /// A crash while `cpu` runs: the kdump kernel has that CPU alone, and its timer fires.
    fn crash_on(&mut self, cpu: u32) -> CaseResult {
        let alone = [(0, cpu)];
        self.does(Request::LoadCrash, &all_running())?;
        let request = Request::Crash(cpu);
        let state = self.guest.leave_by(request)?;
        require(state.after_crash, || {
            format!("{request:?} should boot the kdump kernel, but what came has no memory of a crashed one")
        })?;
        self.holds(&format!("{request:?}"), &state, &alone)?;
        let before = timer_interrupts(&state);
        thread::sleep(TICKING);
        let after = timer_interrupts(&self.guest.ask(Request::Tell)?);
        require(before > 0 && after > before, || {
            format!("the kdump kernel's timer should fire, but its interrupts went from {before} to {after}")
        })
    }

    /// That exactly the `running` CPUs run after `step`, and that ldrscope sees the guest as it is and finds it healthy.
    fn holds(&mut self, step: &str, state: &State, running: &[Running]) -> CaseResult {
        let said: Vec<_> = state.cpus.iter().map(|cpu| (cpu.number, cpu.apic_id)).collect();
        require(said == running, || {
            format!("after {step} the guest should run CPUs {running:?}, says {said:?}")
        })?;
        self.hears_no_alarm(step, running.len() == all_running().len())?;
        Account::take(&mut self.guest)?
            .hold(self.routing, running)
            .map_err(|what| CaseError::Unmet(format!("after {step}: {what}")))?;
        self.note(step);
        Ok(())
    }

    /// A step takes long enough for somebody to wonder how far the guest is.
    fn note(&self, step: &str) {
        let findings = self.watch.standing().of_process(self.guest.pid());
        let standing: Vec<_> = findings
            .iter()
            .map(|finding| (finding.rule, finding.severity))
            .collect();
        // Whoever does not read stderr misses nothing that counts.
        let _ = writeln!(
            io::stderr(),
            "{:?} guest after {step}: all as it should be, and {standing:?} stand",
            self.routing
        );
    }

    /// What `watch` said from the beginning up to now.
    fn hears_no_alarm(&mut self, step: &str, all_run: bool) -> CaseResult {
        let pid = self.guest.pid();
        let what = if all_run {
            format!("after {step} nothing stands but a suspicion, since all CPUs run")
        } else {
            format!("after {step} nothing above notice stands")
        };
        let calm = |findings: Vec<&Finding>| {
            findings.iter().all(|finding| {
                if all_run {
                    is_suspicion(finding)
                } else {
                    finding.severity <= Severity::Notice
                }
            })
        };
        self.watch
            .wait_for(&what, PATIENCE, |standing| calm(standing.of_process(pid)))?;
        self.watch.take_lines_for(SETTLED)?;
        let watch = &*self.watch;
        watch.require(calm(watch.standing().of_process(pid)), &what)?;
        watch.require(
            watch.worst() <= Some(Severity::Notice),
            &format!("nothing above notice is raised up to {step}"),
        )?;
        lost_nothing(watch, step)
    }
}

/// Whether all that a finding says is that LDRs are older than another CPU's return: so they are after every CPU that was
/// taken back, and by itself that is normal.
fn is_suspicion(finding: &Finding) -> bool {
    finding.rule == Rule::LdrStale && finding.suspected && finding.severity == Severity::Info
}

fn timer_interrupts(state: &State) -> u64 {
    state.cpus.iter().map(|cpu| cpu.timer_interrupts).sum()
}

/// Records that a kernel may make ldrscope miss that preempts itself.
const MISSED_AT_MOST: u64 = 10;

/// That no record was lost, and that every VM that turned uncertain is certain again.
///
/// On a kernel that preempts itself a guest's INITs can meet a program that has lost the CPU: emulated, its first run takes as
/// long as a tick. ldrscope must say so and read all again.
fn lost_nothing(watch: &Watch, step: &str) -> CaseResult {
    let kernel = Series::running().map_err(|error| CaseError::Unmet(error.to_string()))?;
    let allowed = if kernel.preempts_itself() {
        MISSED_AT_MOST
    } else {
        0
    };
    let statuses = || watch.statuses().iter();
    let lost: u64 = statuses()
        .filter(|status| status.status == StatusKind::Lost)
        .map(|status| status.records.unwrap_or(u64::MAX))
        .fold(0, u64::saturating_add);
    watch.require(
        lost <= allowed,
        &format!("no more than {allowed} records are lost up to {step}"),
    )?;
    let uncertain = |vm: &Status| {
        let last = statuses().rfind(|status| {
            status.vm == vm.vm && matches!(status.status, StatusKind::Uncertain | StatusKind::Certain)
        });
        last.is_some_and(|status| status.status == StatusKind::Uncertain)
    };
    Ok(watch.require(
        !statuses().any(uncertain),
        &format!("every VM is certain again after {step}"),
    )?)
}
