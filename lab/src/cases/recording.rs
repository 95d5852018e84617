//! `record` beside `watch` while the failure of 2019 happens; then the recording alone must say what `watch` said, to
//! whoever has no right to anything, also where it was cut, as another KVM, and at a moment in its middle.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::Duration;

use super::refusal::NOBODY;
use super::{Bench, CaseError, CaseResult, Context, require};
use crate::contract::{Event, EventKind, Finding, Line, Rule, Severity, Snapshot, StatusKind, parse_line};
use crate::host::MapRules;
use crate::scenario::{DeadCpus, Kdump};
use crate::tool::{Outcome, PATIENCE, Recording, Watch, command, read_snapshot, run_to_end, snapshot};

/// Longer than the settle time of both.
const SETTLED: Duration = Duration::from_millis(700);

pub(super) fn replays(context: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let mut watch = Watch::ready(context.hooks)?;
    let recording = Recording::start(context.hooks, "kdump.ldrrec", &[])?;

    let mut live = Vec::new();
    for dead in [DeadCpus::LeftEnabled, DeadCpus::Disabled] {
        let mut kdump = Kdump::boot_bigsmp()?;
        watch.take_lines_for(SETTLED)?;
        live.push(snapshot(&[])?);
        kdump.crash(dead)?;
        kdump.arm_timer()?;
        kdump.await_timer()?;
        // A VM with broken destinations is read each second; by now both have seen the pin.
        watch.take_lines_for(2 * SETTLED)?;
        live.push(snapshot(&[])?);
        drop(kdump);
        watch.wait_for("what stands is cleared", PATIENCE, |standing| standing.is_empty())?;
    }
    watch.take_lines_for(SETTLED)?;
    let (path, said) = recording.end()?;
    require(said.contains("recorded "), || {
        format!("`record` should say what it recorded: {said}")
    })?;

    let told = events(&replay(&path, &[])?.stdout)?;
    for look in &live {
        same(&look.taken_at, &watch, &told)?;
    }
    let end = standing_at("9", &told);
    require(end.is_empty(), || {
        format!("nothing should stand in the end: {end:?}")
    })?;
    as_another_kvm(context, &path, &told)?;
    moments(&path, &live, &told)?;
    cut(&path)
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

fn events(text: &str) -> Result<Vec<Event>, CaseError> {
    let events = lines(text)?.into_iter().filter_map(|line| match line {
        Line::Event(event) => Some(event),
        Line::Status(_) => None,
    });
    Ok(events.collect())
}

/// What stood at `moment` according to `events`, by id; times are of one form, and so in the order of their text. When
/// it came about is left out: each of the two has a wall clock of its own, some microseconds apart.
fn standing_at(moment: &str, events: &[Event]) -> BTreeMap<String, Finding> {
    let mut standing = BTreeMap::new();
    for event in events.iter().filter(|event| event.time.as_str() <= moment) {
        let id = event.finding.id.clone();
        if event.event == EventKind::Cleared {
            standing.remove(&id);
        } else {
            let finding = Finding {
                since: None,
                ..event.finding.clone()
            };
            standing.insert(id, finding);
        }
    }
    standing
}

/// While registers change one after the other, two that look at them see different steps; where they rest both say the
/// same, word by word.
fn same(moment: &str, watch: &Watch, told: &[Event]) -> CaseResult {
    let [live, again] = [watch.events(), told].map(|events| standing_at(moment, events));
    require(!live.is_empty(), || {
        format!(
            "`watch` should have said more by {moment}:\n{}",
            watch.transcript()
        )
    })?;
    for id in live.keys().chain(again.keys()) {
        let (said, again) = (live.get(id), again.get(id));
        require(is_same(said, again), || {
            format!("finding {id} at {moment}: `watch` said\n  {said:?}\n`replay` says\n  {again:?}")
        })?;
    }
    Ok(())
}

/// Whether two say the same of a finding. Each has hooks of its own, and may have missed an event that the other heard: then its
/// cause is not certain, and says so.
fn is_same(one: Option<&Finding>, other: Option<&Finding>) -> bool {
    let certain = |finding: &Finding| finding.cause.as_ref().is_some_and(|cause| cause.certain);
    let without_cause = |finding: &Finding| Finding {
        cause: None,
        ..finding.clone()
    };
    match (one, other) {
        (Some(one), Some(other)) if certain(one) && certain(other) => one == other,
        (Some(one), Some(other)) => without_cause(one) == without_cause(other),
        (one, other) => one == other,
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
        let other = events(&replay(path, &["--as-kvm", rules.name()])?.stdout)?;
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
fn moments(path: &Path, live: &[Snapshot], told: &[Event]) -> CaseResult {
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
    require(end.vms.is_empty() && !told.is_empty(), || {
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
