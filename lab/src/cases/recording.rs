//! `watch` records while the failure of 2019 happens; then the recording alone must say what `watch` said, to whoever has no
//! right to anything, also where it was cut, as another KVM, and at a moment in its middle.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::refusal::NOBODY;
use super::{Bench, CaseError, CaseResult, Context, require};
use crate::contract::{
    Event, EventKind, Finding, Line, Rule, Severity, Snapshot, Status, StatusKind, parse_line,
};
use crate::host::MapRules;
use crate::scenario::{DeadCpus, Kdump};
use crate::tool::{Outcome, PATIENCE, Recording, Watch, command, read_snapshot, run_to_end, snapshot};

/// Longer than the settle time.
const SETTLED: Duration = Duration::from_millis(700);
/// A VM with broken destinations is read each second; by then what it aims at is known.
const READ_AGAIN: Duration = Duration::from_millis(1500);

pub(super) fn replays(context: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let path = recording_at("kdump.ldrrec");
    let mut watch = Watch::ready_with(context.hooks, &["--record", &path.to_string_lossy()])?;

    let mut live = Vec::new();
    for dead in [DeadCpus::LeftEnabled, DeadCpus::Disabled] {
        let mut kdump = Kdump::boot_bigsmp()?;
        watch.take_lines_for(SETTLED)?;
        live.push(snapshot(&[])?);
        kdump.crash(dead)?;
        kdump.arm_timer()?;
        kdump.await_timer()?;
        watch.take_lines_for(READ_AGAIN)?;
        live.push(snapshot(&[])?);
        drop(kdump);
        watch.wait_for("what stands is cleared", PATIENCE, |standing| standing.is_empty())?;
    }
    watch.take_lines_for(SETTLED)?;
    watch.signal(Signal::INT)?;
    let status = watch.wait_for_exit()?;
    watch.require(status.success(), "it ends in order")?;
    watch.require(watch.stderr().contains("recorded "), "it says what it recorded")?;

    let told = lines(&replay(&path, &[])?.stdout)?;
    same(&watch, &told)?;
    let told = events(told);
    as_another_kvm(context, &path, &told)?;
    moments(&path, &live)?;
    cut(&path)
}

/// `record` alone: what it leaves tells of the collision, and who wrote what.
pub(super) fn record(context: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let recording = Recording::start(context.hooks, "record.ldrrec", &[])?;
    let mut kdump = Kdump::boot_bigsmp()?;
    kdump.crash(DeadCpus::LeftEnabled)?;
    thread::sleep(SETTLED);
    let (path, said) = recording.end()?;
    require(said.contains("recorded "), || {
        format!("`record` should say what it recorded: {said}")
    })?;
    let told = events(lines(&replay(&path, &[])?.stdout)?);
    let raised = |event: &Event| event.finding.rule == Rule::LdrCollision && event.event == EventKind::Raised;
    require(told.iter().any(raised), || {
        format!("the recording should tell of the collision: {told:?}")
    })
}

/// Where `watch` is to record; what a case before this one left there is gone.
fn recording_at(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(name);
    let _ = fs::remove_file(&path);
    path
}

/// `replay --format jsonl`, by a user who may do nothing; anything but exit 0 is an error.
fn replay(path: &Path, args: &[&str]) -> Result<Outcome, CaseError> {
    let mut replay = command(&["replay", "--format", "jsonl"]);
    replay.arg(path).args(args);
    let outcome = unprivileged(path, replay)?;
    require(outcome.status.success(), || {
        format!("`replay` should end with 0, ended with {outcome:?}")
    })?;
    Ok(outcome)
}

fn unprivileged(path: &Path, mut ldrscope: std::process::Command) -> Result<Outcome, CaseError> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))?;
    ldrscope.uid(NOBODY).gid(NOBODY);
    Ok(run_to_end(ldrscope)?)
}

fn lines(text: &str) -> Result<Vec<Line>, CaseError> {
    text.lines()
        .map(|line| parse_line(line).map_err(|error| CaseError::Unmet(error.to_string())))
        .collect()
}

fn events(lines: Vec<Line>) -> Vec<Event> {
    let events = lines.into_iter().filter_map(|line| match line {
        Line::Event(event) => Some(event),
        Line::Status(_) => None,
    });
    events.collect()
}

/// What `watch` said, `replay` says again, event by event and word by word, latencies included. The moments are left out: the wall
/// clock is read anew for each, some microseconds apart. (What the beacon brought before `watch` was ready is replayed, too.)
fn same(watch: &Watch, told: &[Line]) -> CaseResult {
    let statuses = told.iter().filter_map(|line| match line {
        Line::Status(status) => Some(timeless_status(status)),
        Line::Event(_) => None,
    });
    let statuses: Vec<_> = statuses.collect();
    let again: Vec<_> = events(told.to_vec()).iter().map(timeless).collect();
    let live: Vec<_> = watch.events().iter().map(timeless).collect();
    require(!live.is_empty() && again.ends_with(&live), || {
        format!("`watch` said\n  {live:?}\n`replay` says\n  {again:?}")
    })?;
    let live: Vec<_> = watch.statuses().iter().map(timeless_status).collect();
    require(statuses.ends_with(&live), || {
        format!("`watch` said\n  {live:?}\n`replay` says\n  {statuses:?}")
    })
}

fn timeless(event: &Event) -> Event {
    Event {
        time: String::new(),
        finding: Finding {
            since: None,
            ..event.finding.clone()
        },
        ..event.clone()
    }
}

fn timeless_status(status: &Status) -> Status {
    Status {
        time: String::new(),
        ..status.clone()
    }
}

/// The stolen slot is an emergency wherever a later vCPU takes it, and nowhere else.
fn as_another_kvm(context: &Context, path: &Path, told: &[Event]) -> CaseResult {
    let stolen = |events: &[Event]| {
        let stolen = |event: &&Event| event.finding.rule == Rule::LdrCollision;
        events
            .iter()
            .filter(stolen)
            .any(|event| event.finding.severity == Severity::Critical)
    };
    for rules in [MapRules::Overwrite, MapRules::ConflictDisables] {
        let other = events(lines(&replay(path, &["--as-kvm", rules.name()])?.stdout)?);
        let is_due = rules == MapRules::Overwrite;
        require(stolen(&other) == is_due, || {
            format!("as {rules:?}, a critical collision should be said: {is_due}")
        })?;
        if rules == context.rules {
            require(stolen(told) == is_due, || {
                "what was replayed should be judged as by the host's own rules".to_owned()
            })?;
        }
    }
    Ok(())
}

/// At the moments at which the live host was looked at, the recording shows the same VM.
fn moments(path: &Path, live: &[Snapshot]) -> CaseResult {
    for live in live {
        let mut then = command(&["snapshot", "--format", "json", "--at", &live.taken_at, "--from"]);
        then.arg(path);
        let outcome = unprivileged(path, then)?;
        require(outcome.status.success(), || {
            format!("`snapshot --from`: {outcome:?}")
        })?;
        let then = read_snapshot(&outcome.stdout)?;
        let judged = |snapshot: &Snapshot| {
            let vms = snapshot.vms.iter();
            vms.map(|vm| (vm.pid, vm.vcpus.clone(), vm.map.clone(), vm.aimed.clone()))
                .collect::<Vec<_>>()
        };
        require(judged(live) == judged(&then) && live.host == then.host, || {
            format!("at {}: live\n  {live:?}\nrecorded\n  {then:?}", live.taken_at)
        })?;
    }
    let mut end = command(&["snapshot", "--format", "json", "--from"]);
    end.arg(path);
    let end = read_snapshot(&unprivileged(path, end)?.stdout)?;
    require(end.vms.is_empty(), || {
        format!("at the end no VM should be left: {end:?}")
    })
}

/// Half of the file tells the first half of the story, and that it was cut.
fn cut(path: &Path) -> CaseResult {
    let whole = replay(path, &[])?.stdout;
    let bytes = fs::read(path)?;
    let half = path.with_extension("half");
    fs::write(&half, &bytes[..bytes.len() / 2])?;
    let outcome = replay(&half, &[])?;
    let told = lines(&outcome.stdout)?;
    let is_cut =
        matches!(told.last(), Some(Line::Status(status)) if status.status == StatusKind::RecordingCut);
    let before = outcome
        .stdout
        .trim_end()
        .rsplit_once('\n')
        .map_or("", |(before, _)| before);
    require(
        is_cut && whole.starts_with(before) && outcome.stderr.contains("was cut"),
        || format!("half of the recording should be told, and that it was cut: {outcome:?}"),
    )
}
