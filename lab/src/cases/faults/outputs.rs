//! What the daemon writes while guests rage and disks fill up: bounded, counted exactly, and true in the end.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{ONE_SECOND, load, note, shell};
use crate::cases::{Bench, CaseResult, Context, require};
use crate::contract::{Line, Severity, StatusKind, parse_line};
use crate::exhibit::{GuestProcess, Kind as Exhibit};
use crate::host::MapRules;
use crate::load::{End, Kind};
use crate::outside::attached::missed_runs;
use crate::tool::{Daemon, Exposition, PATIENCE, Standing, command, read_events, read_snapshot, run_to_end};

const PORT: u16 = 9761;
/// ldrscope's settle time, twice, and its rate of a line a second.
const QUIET: Duration = Duration::from_millis(1500);

/// How many events, and how many suppressed ones as the status lines say.
fn count(lines: &[Line]) -> (u64, u64) {
    let mut counts = (0, 0);
    for line in lines {
        match line {
            Line::Event(_) => counts.0 += 1,
            Line::Status(status) if status.status == StatusKind::Suppressed => {
                counts.1 += status.records.unwrap_or_default();
            }
            Line::Status(_) => {}
        }
    }
    counts
}

/// The events that the engine told of, whatever became of them.
fn told(metrics: &Exposition) -> u64 {
    metrics.sum("ldrscope_finding_events_total", &[]) as u64
}

/// A storm's lines come at a line a second after a burst of five; what is left out is counted to the line; every write is
/// delivered, left out or lost by count; and once it is quiet log, metrics and guest agree.
pub(in crate::cases) fn rate_limited(context: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    // Each state that is seen counts at once, so that there is much to leave out.
    let mut daemon = Daemon::ready(PORT, &["--settle", "0"])?;
    let mut storm = load(Kind::Storm, 1, 1, End::Sane)?;
    thread::sleep(QUIET);
    let records = |metrics: &Exposition| {
        let counters = [
            "records_total",
            "records_dropped_total",
            "records_skipped_total",
            "program_runs_missed_total",
        ];
        counters
            .map(|name| metrics.value(&format!("ldrscope_{name}")))
            .iter()
            .sum::<f64>() as u64
    };
    let before = records(&daemon.scrape()?);
    let start = Instant::now();
    storm.go()?;
    thread::sleep(Duration::from_secs(context.scaled(6, 60).into()));
    let writes = storm.halt()?;
    let length = start.elapsed();
    let missed = missed_runs(daemon.broker_pid())?;
    let enough = daemon.wait_until("all records are taken in", PATIENCE, |metrics| {
        records(metrics) >= before + writes
    });
    let counted = enough
        .or_else(|_| daemon.scrape())
        .map(|metrics| records(&metrics) - before)?;
    note(&format!(
        "{writes} writes, {counted} records; the kernel left out {missed} runs"
    ))?;
    require(counted == writes, || {
        format!("{writes} writes should be as many records, are {counted}; the kernel left out {missed} runs")
    })?;
    let (events, _) = count(&daemon.events()?);
    let most = 5 + 1 + length.as_secs() + QUIET.as_secs();
    require(events <= most, || {
        format!("at most {most} lines should come in {length:?}, {events} did")
    })?;
    storm.settle()?;
    let deadline = Instant::now() + 6 * PATIENCE;
    loop {
        thread::sleep(ONE_SECOND);
        let metrics = daemon.scrape()?;
        let (events, said) = count(&daemon.events()?);
        let suppressed = metrics.value("ldrscope_lines_suppressed_total") as u64;
        if events + suppressed == told(&metrics) && said == suppressed {
            note(&format!(
                "{writes} writes in {length:?}: {events} events told, {suppressed} suppressed"
            ))?;
            break agrees(&daemon, &metrics);
        }
        require(Instant::now() < deadline, || {
            format!(
                "told and suppressed should add up: {events} events in the log, {suppressed} suppressed, {said} said to be; {} in all",
                told(&metrics)
            )
        })?;
    }
}

/// The log's standing findings are the metrics' ones, and the guest's: none.
fn agrees(daemon: &Daemon, metrics: &Exposition) -> CaseResult {
    let mut standing = Standing::default();
    for line in daemon.events()? {
        if let Line::Event(event) = line {
            standing
                .apply(&event)
                .map_err(|error| super::CaseError::Unmet(error.to_string()))?;
        }
    }
    let counted = metrics.sum("ldrscope_findings", &[]);
    require(standing.is_empty() && counted == 0.0, || {
        format!(
            "nothing should stand: {:?} in the log, {counted} in the metrics",
            standing.findings()
        )
    })
}

/// The log's disk fills up and has room again: whole lines alone, and how many are missing.
pub(in crate::cases) fn disk_full(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    shell(
        "mkdir -p /tmp/log && mount -t tmpfs -o size=64k none /tmp/log && head -c 40000 /dev/zero > /tmp/log/other",
    )?;
    let outcome = fill_and_free();
    shell("umount -l /tmp/log")?;
    outcome
}

fn fill_and_free() -> CaseResult {
    let log = Path::new("/tmp/log/events");
    let mut daemon = Daemon::ready(
        PORT,
        &[
            "--event-log",
            "/tmp/log/events",
            "--rate-limit",
            "off",
            "--settle",
            "0",
        ],
    )?;
    let mut churn = load(Kind::Churn, 60, 4, End::Sane)?;
    churn.go()?;
    churn.finish()?;
    let metrics = daemon.wait_until("lines are lost to a full disk", PATIENCE, |metrics| {
        metrics.sum("ldrscope_output_errors_total", &["output=\"event-log\""]) > 0.0
    })?;
    require(metrics.value("ldrscope_up") == 1.0, || {
        "it should be up".to_owned()
    })?;
    fs::remove_file("/tmp/log/other")?;
    let lost = |lines: &[Line]| -> u64 {
        let lost = lines.iter().filter_map(|line| match line {
            Line::Status(status) if status.status == StatusKind::OutputLost => status.records,
            _ => None,
        });
        lost.sum()
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        // Read strictly: a line that is broken ends the case.
        let lines = read_events(log)?;
        let metrics = daemon.scrape()?;
        let failed = metrics.sum("ldrscope_output_errors_total", &["output=\"event-log\""]) as u64;
        if lost(&lines) == failed && failed > 0 {
            return note(&format!(
                "{} lines written, {failed} lost and said to be",
                lines.len()
            ));
        }
        require(Instant::now() < deadline, || {
            format!("{failed} lines were lost, {} are said to be", lost(&lines))
        })?;
        thread::sleep(Duration::from_millis(200));
    }
}

/// The log is moved away and opened anew on SIGHUP, amid events: none is missing, none is there twice.
pub(in crate::cases) fn rotated(context: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let daemon = Daemon::ready(PORT, &["--rate-limit", "off", "--settle", "0"])?;
    let mut churn = load(Kind::Churn, 100_000, 4, End::Sane)?;
    churn.go()?;
    let log = daemon.event_log();
    let mut moved: Vec<PathBuf> = Vec::new();
    for number in 0..context.scaled(3, 30) {
        thread::sleep(Duration::from_millis(700));
        let old = log.with_extension(number.to_string());
        fs::rename(&log, &old)?;
        moved.push(old);
        daemon.signal(Signal::HUP)?;
    }
    thread::sleep(Duration::from_millis(700));
    churn.halt()?;
    thread::sleep(QUIET);
    let told = told(&daemon.scrape()?);
    moved.push(log);
    let mut written = 0;
    for path in &moved {
        written += count(&read_events(path)?).0;
    }
    note(&format!(
        "{told} events told, {written} written to {} files",
        moved.len()
    ))?;
    require(written == told && told > 0, || {
        format!("{told} events were told, {written} written")
    })
}

/// Snapshots and recordings on SIGUSR1 and of what turns critical, no more of them than allowed; and a recording says what the
/// daemon said.
pub(in crate::cases) fn snapshots(context: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let directory = Path::new("/tmp/snapshots");
    let recordings = Path::new("/tmp/recordings");
    let _ = fs::remove_dir_all(directory);
    shell("mkdir -p /tmp/recordings && mount -t tmpfs -o size=256k none /tmp/recordings")?;
    let outcome = kept(context, directory, recordings);
    shell("umount -l /tmp/recordings")?;
    outcome
}

fn kept(context: &Context, directory: &Path, recordings: &Path) -> CaseResult {
    const KEEP: usize = 3;
    let mut daemon = Daemon::ready(
        PORT,
        &[
            // The log is to have all that was critical by the time of the recording.
            "--rate-limit",
            "off",
            "--snapshot-dir",
            "/tmp/snapshots",
            "--snapshot-keep",
            "3",
            "--recording-dir",
            "/tmp/recordings",
            "--recording-keep",
            "2",
        ],
    )?;
    let _guest = GuestProcess::start(Exhibit::BigsmpEnabled, 16)?;
    let written = |reason: &'static str| {
        move |metrics: &Exposition| metrics.sum("ldrscope_snapshots_written_total", &[reason])
    };
    if context.rules == MapRules::Overwrite {
        daemon.wait_until("a critical finding brings a snapshot", PATIENCE, |metrics| {
            written("reason=\"critical\"")(metrics) == 1.0
        })?;
        let [recording] = &files(recordings)?[..] else {
            return Err(super::CaseError::Unmet(
                "it should bring one recording".to_owned(),
            ));
        };
        tells_the_same(&daemon, recording)?;
    }
    for number in 1..=context.scaled(5, 50) {
        daemon.signal(Signal::USR1)?;
        daemon.wait_until("SIGUSR1 brings a snapshot", PATIENCE, |metrics| {
            written("reason=\"signal\"")(metrics) == f64::from(number)
        })?;
    }
    let snapshots = files(directory)?;
    let kept = files(recordings)?;
    require(snapshots.len() == KEEP && kept.len() == 2, || {
        format!("{KEEP} snapshots and 2 recordings should be kept: {snapshots:?}, {kept:?}")
    })?;
    for file in snapshots {
        let snapshot = read_snapshot(&fs::read_to_string(&file)?)?;
        require(snapshot.vms.len() == 1, || {
            format!("one VM should be in {file:?}: {:?}", snapshot.vms)
        })?;
    }
    full_of_recordings(&mut daemon, recordings)
}

/// What is in a directory.
fn files(directory: &Path) -> Result<Vec<PathBuf>, super::CaseError> {
    let entries = fs::read_dir(directory)?;
    Ok(entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?)
}

/// The recording that something critical brought raises what the daemon's event log has.
fn tells_the_same(daemon: &Daemon, recording: &Path) -> CaseResult {
    let mut replay = command(&["replay", "--format", "jsonl"]);
    replay.arg(recording);
    let outcome = run_to_end(replay)?;
    require(outcome.status.success(), || format!("{outcome:?}"))?;
    let critical = |line: &Line| match line {
        Line::Event(event) if event.finding.severity == Severity::Critical => Some(event.finding.id.clone()),
        _ => None,
    };
    let mut replayed = BTreeSet::new();
    for line in outcome.stdout.lines() {
        let line = parse_line(line).map_err(|error| super::CaseError::Unmet(error.to_string()))?;
        replayed.extend(critical(&line));
    }
    let told: BTreeSet<_> = daemon.events()?.iter().filter_map(critical).collect();
    require(!replayed.is_empty() && replayed.is_subset(&told), || {
        format!(
            "critical in the log: {told:?}; in the recording: {replayed:?}\n{}",
            outcome.stdout
        )
    })
}

/// Where there is no room for a recording, that is counted and said, costs no older one, and the daemon goes on.
fn full_of_recordings(daemon: &mut Daemon, directory: &Path) -> CaseResult {
    let before = files(directory)?;
    let other = directory.join("other");
    // Until there is no room for a byte more.
    shell(&format!(
        "cat /dev/zero > {} 2> /dev/null || true",
        other.display()
    ))?;
    daemon.signal(Signal::USR1)?;
    daemon.wait_until("a full disk is counted", PATIENCE, |metrics| {
        metrics.sum("ldrscope_output_errors_total", &["output=\"recordings\""]) == 1.0
            && metrics.value("ldrscope_up") == 1.0
    })?;
    fs::remove_file(other)?;
    let (said, after) = (daemon.stderr(), files(directory)?);
    require(
        said.contains("the recording ") && said.contains("No space left") && after.len() == before.len(),
        || format!("a full disk should be said and cost nothing: {before:?}, {after:?}: {said}"),
    )
}
