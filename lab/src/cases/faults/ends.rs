//! How ldrscope ends, or does not begin, where something runs out: in order, by name, and with nothing left attached.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{load, mostly_within, note, nothing_left_attached, shell};
use crate::cases::{Bench, CaseResult, Context, require};
use crate::contract::parse_line;
use crate::load::{End, Kind};
use crate::outside::attached::Attached;
use crate::reap;
use crate::tool::{Outcome, PATIENCE, Standing, Watch, command, run_to_end};

/// Everything that is to be told is told, and the process gone, within this. Most of it is the kernel's letting go of what was
/// attached: on 6.1 that takes some 200 ms for each fentry program.
const ENDED: Duration = Duration::from_secs(2);

pub(in crate::cases) fn in_order(context: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let before = Attached::settled()?;
    let mut storm = load(Kind::Storm, 1, 2, End::Sane)?;
    let mut times = Vec::new();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut watch = Watch::start(context.hooks, &[])?;
        storm.go()?;
        watch.wait_for("a storm's finding is told", 2 * PATIENCE, |standing| {
            !standing.is_empty()
        })?;
        let start = Instant::now();
        watch.signal(signal)?;
        let status = watch.wait_for_exit()?;
        times.push(start.elapsed());
        storm.stop()?;
        watch.require(
            status.code() == Some(0),
            &format!("{signal:?} should end it with exit 0, ended it with {status}"),
        )?;
        nothing_left_attached(before)?;
    }
    mostly_within(ENDED, times, "ending on a signal in a storm")
}

/// Standard output is a file on a file system of 64 KiB, or one that is always full.
pub(in crate::cases) fn disk_full(context: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let before = Attached::settled()?;
    shell("mkdir -p /tmp/small && mount -t tmpfs -o size=64k none /tmp/small")?;
    let mut churn = load(Kind::Churn, 10_000, 4, End::Sane)?;
    churn.go()?;
    recording_ends(before)?;
    for path in ["/tmp/small/events", "/dev/full"] {
        let out = File::options().create(true).append(true).open(path)?;
        let mut child = command(&[
            "watch",
            "--format",
            "jsonl",
            "--settle",
            "0",
            "--hooks",
            context.hooks.word(),
        ])
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(Stdio::piped())
        .spawn()?;
        let ended = reap::wait_at_most(&mut child, 3 * PATIENCE)?;
        reap::kill(&mut child);
        let stderr = child
            .stderr
            .take()
            .map(std::io::read_to_string)
            .transpose()?
            .unwrap_or_default();
        let code = ended.and_then(|status| status.code());
        require(code == Some(3) && stderr.contains("error[output]: "), || {
            format!("a full {path} should end it with exit 3 and its name, ended it with {ended:?}: {stderr}")
        })?;
        nothing_left_attached(before)?;
    }
    churn.halt()?;
    let written = fs::read_to_string("/tmp/small/events")?;
    let whole = written.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let mut lines = 0;
    for line in whole {
        lines += 1;
        parse_line(line.trim_end()).map_err(|error| super::CaseError::Unmet(error.to_string()))?;
    }
    note(&format!("{lines} whole lines on the full disk"))?;
    shell("umount /tmp/small")?;
    require(lines > 0, || "what was written before should be whole".to_owned())
}

/// A recording onto a disk that fills up ends by name, and what was written before can be replayed.
fn recording_ends(before: Attached) -> CaseResult {
    shell("mkdir -p /tmp/tape && mount -t tmpfs -o size=8k none /tmp/tape")?;
    for path in ["/tmp/tape/tape", "/dev/full"] {
        let outcome = run_to_end(command(&["record", "--duration", "60s", "-o", path]))?;
        let (code, stderr) = (outcome.status.code(), &outcome.stderr);
        require(
            code == Some(3) && stderr.contains("error[output]: ") && stderr.contains("No space left"),
            || format!("a full {path} should end `record` with exit 3 and its name: {code:?}, {stderr}"),
        )?;
        nothing_left_attached(before)?;
    }
    let replayed = run_to_end(command(&["replay", "/tmp/tape/tape"]))?;
    shell("umount /tmp/tape")?;
    require(
        replayed.status.success() && replayed.stderr.contains("was cut"),
        || format!("what was recorded should be replayed up to its cut: {replayed:?}"),
    )
}

/// Runs `ldrscope snapshot` behind a shell's `limit`.
fn limited(limit: &str) -> Result<Outcome, super::CaseError> {
    let ldrscope = command(&["snapshot", "--format", "json"]);
    let mut sh = Command::new("sh");
    sh.args(["-c", &format!("{limit}; exec \"$0\" \"$@\"")])
        .arg(ldrscope.get_program())
        .args(ldrscope.get_args());
    Ok(run_to_end(sh)?)
}

/// Done, or refused with a cause word; never a panic.
fn done_or_named(outcome: &Outcome, limit: &str) -> CaseResult {
    let Outcome {
        status,
        stdout,
        stderr,
    } = outcome;
    let done = status.code() == Some(0) && !stdout.is_empty();
    let named = status.code() == Some(3) && stdout.is_empty() && stderr.contains("error[");
    require((done || named) && !stderr.contains("panicked"), || {
        format!("under `{limit}` it should be done, or say by name why not: {status}; {stderr}")
    })
}

pub(in crate::cases) fn few_descriptors(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let before = Attached::settled()?;
    let mut refused = 0;
    for files in [3, 5, 8, 16, 24, 40] {
        let limit = format!("ulimit -n {files}");
        let outcome = limited(&limit)?;
        done_or_named(&outcome, &limit)?;
        refused += usize::from(!outcome.status.success());
        nothing_left_attached(before)?;
    }
    require(refused > 0, || {
        "no limit was low enough to try anything".to_owned()
    })
}

/// Kernels before 5.11 charge BPF maps to the locked memory of the user.
pub(in crate::cases) fn locked_memory(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let before = Attached::settled()?;
    let limit = "ulimit -l 64";
    done_or_named(&limited(limit)?, limit)?;
    nothing_left_attached(before)
}

/// The kernel kills it for want of memory; started again it is as before.
pub(in crate::cases) fn out_of_memory(context: &Context, bench: &mut Bench) -> CaseResult {
    const GROUP: &str = "/sys/fs/cgroup/small";
    bench.clear();
    let before = Attached::settled()?;
    shell(&format!(
        "echo +memory > /sys/fs/cgroup/cgroup.subtree_control && mkdir -p {GROUP} && echo 3M > {GROUP}/memory.max"
    ))?;
    let outcome = limited(&format!("echo $$ > {GROUP}/cgroup.procs"))?;
    let killed = outcome.status.code().is_none();
    require(killed, || {
        format!(
            "3 MiB should not be enough: {}; {}",
            outcome.status, outcome.stderr
        )
    })?;
    nothing_left_attached(before)?;
    let colliding = load(Kind::Idle, 1, 2, End::Colliding)?;
    let mut watch = Watch::start(context.hooks, &[])?;
    watch.wait_for(
        "after a restart the collision is told",
        2 * PATIENCE,
        |standing| !standing.of_process(colliding.pid()).is_empty(),
    )?;
    drop(colliding);
    watch.wait_for("and its end", PATIENCE, Standing::is_empty)?;
    Ok(())
}
