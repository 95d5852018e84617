//! What a production host does to ldrscope, provoked, and what must hold meanwhile and afterwards. All of it is judged from
//! outside: by the guests' real state, by `/proc`, by what is attached to the kernel.

pub(super) mod churn;
pub(super) mod daemon;
pub(super) mod ends;
pub(super) mod flood;
pub(super) mod host;
pub(super) mod killed;
pub(super) mod names;
pub(super) mod outputs;
pub(super) mod overflow;
pub(super) mod reload;
pub(super) mod storm;
pub(super) mod vcpus;

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use lab_protocol::Scale;

use super::{CaseError, CaseResult, Context, require};
use crate::load::{End, Kind, Load, LoadProcess};
use crate::outside::attached::Attached;
use crate::outside::process::{Footprint, lives};
use crate::tool::{ToolError, Watch, run_to_end};

/// How long a VM may be uncertain after a loss, a dead one listed, a deaf hook believed.
const ONE_SECOND: Duration = Duration::from_secs(1);

/// By when a kernel has freed what was let go of: before 6.12 it takes some 200 ms for each fentry program, on a machine that
/// does nothing else. That is the kernel's time and promised by nobody; on a busy machine ten seconds were seen.
const FREED: Duration = Duration::from_secs(30);

/// What memory may grow by, whatever guests do, in KiB.
const GROWTH_KIB: u64 = 1024;

impl Context {
    /// How often, or how long, in a test; and in a soak.
    const fn scaled(&self, test: u32, soak: u32) -> u32 {
        match self.scale {
            Scale::Test => test,
            Scale::Soak => soak,
        }
    }
}

/// Starts a load of `kind`.
fn load(kind: Kind, vms: u32, vcpus: u32, end: End) -> Result<LoadProcess, CaseError> {
    let load = Load {
        kind,
        vms,
        vcpus,
        end,
    };
    Ok(LoadProcess::start(&load)?)
}

/// What both of ldrscope's processes take up.
fn footprint(watch: &Watch) -> Result<Footprint, CaseError> {
    Ok(Footprint::of_all(&watch.processes()?)?)
}

/// Holds that ldrscope takes up no more than before: memory within its bound, and not one thread or descriptor. Those of
/// programs that are attached while there are VMs are given up within two seconds of the last.
fn has_not_grown(watch: &Watch, before: Footprint) -> CaseResult {
    let deadline = Instant::now() + 2 * ONE_SECOND;
    let mut now = footprint(watch)?;
    while now.descriptors != before.descriptors && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(50));
        now = footprint(watch)?;
    }
    note(&format!(
        "own memory {} KiB, was {}; resident {} KiB",
        now.own_kib, before.own_kib, now.resident_kib
    ))?;
    require(now.own_kib <= before.own_kib + GROWTH_KIB, || {
        format!("memory should grow by at most {GROWTH_KIB} KiB, was {before:?}, is {now:?}")
    })?;
    require(
        now.threads == before.threads && now.descriptors == before.descriptors,
        || format!("threads and descriptors should stay, were {before:?}, are {now:?}"),
    )
}

/// Holds that neither of ldrscope's processes outlives the other by a second.
fn both_end(both: [u32; 2]) -> CaseResult {
    let deadline = Instant::now() + ONE_SECOND;
    while both.into_iter().any(lives) {
        require(Instant::now() < deadline, || {
            format!("one of {both:?} outlived the other by a second")
        })?;
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Holds that what is attached to the kernel is back at `before` once the kernel has [freed](FREED) what was let go of.
fn nothing_left_attached(before: Attached) -> CaseResult {
    let now = Attached::await_least(before, FREED)?;
    require(now.is_at_most(before), || {
        format!("nothing should be left attached; before {before:?}, now {now:?}")
    })
}

/// Runs a shell command that is to succeed, and returns its standard output.
fn shell(line: &str) -> Result<String, CaseError> {
    let mut sh = Command::new("sh");
    sh.args(["-c", line]);
    let outcome = run_to_end(sh)?;
    require(outcome.status.success(), || {
        format!("`{line}` should succeed; its stderr: {}", outcome.stderr)
    })?;
    Ok(outcome.stdout)
}

/// How long `act` and what it waits for take.
fn timed<T>(act: impl FnOnce() -> Result<T, ToolError>) -> Result<(T, Duration), ToolError> {
    let start = Instant::now();
    act().map(|outcome| (outcome, start.elapsed()))
}

/// Holds that the middle one of `times` is within `limit`: an emulated machine that does other things, too, stalls now and
/// then, and what is slow by itself is slow every time.
fn mostly_within(limit: Duration, mut times: Vec<Duration>, what: &str) -> CaseResult {
    let middle = middle(&mut times);
    note(&format!("{what}: {middle:?} in the middle of {times:?}"))?;
    require(middle <= limit, || {
        format!("{what} should take at most {limit:?}, took {times:?}")
    })
}

/// The middle one, of an even number the lesser.
fn middle(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    let place = times.len().saturating_sub(1) / 2;
    times.get(place).copied().unwrap_or_default()
}

/// A figure for the log.
fn note(line: &str) -> CaseResult {
    use std::io::Write as _;
    writeln!(std::io::stderr(), "  {line}")?;
    Ok(())
}

/// An error with the transcript, for an expectation about a `watch`.
fn unmet(watch: &Watch, what: &str) -> CaseError {
    CaseError::Unmet(format!("{what}; what came:\n{}", watch.transcript()))
}

/// Unloads kvm. The last VM may have ended just now: what is attached on its account must be gone a second later.
fn unload_kvm() -> CaseResult {
    shell(
        "rmmod kvm_amd && for i in 1 2 3 4 5 6 7 8 9 10; do rmmod kvm 2>/dev/null && exit; sleep 0.1; done; rmmod kvm",
    )?;
    Ok(())
}
