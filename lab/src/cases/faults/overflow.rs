//! A ring that overflows: what was lost is counted to the record, and healed.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{ONE_SECOND, load, note, scaled, signal};
use crate::cases::expect::settles_at;
use crate::cases::{Bench, CaseResult, Context, require};
use crate::contract::{Status, StatusKind};
use crate::load::{End, Kind};
use crate::tool::{Hooks, Watch};

/// Records of 128 bytes, each behind a header of 8, that find room in a ring of 64 KiB.
const ROOM: u64 = (64 << 10) / (128 + 8);

/// The reader is stopped while one vCPU writes its LDR flat out. One, because then every write is one recalculation, and
/// what was produced is known: with precise hooks two records a write, else one.
pub(in crate::cases) fn stopped_reader(context: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let mut watch = Watch::ready_with(context.hooks, &["--ring-size", "64KiB"])?;
    let mut storm = load(Kind::Storm, 1, 1, End::Sane)?;
    settles_at(&mut watch, None, &[])?;

    let [_, reader] = watch.processes()?;
    signal(reader, Signal::STOP)?;
    storm.go()?;
    thread::sleep(Duration::from_secs(scaled(2, 5).into()));
    let writes = storm.halt()?;
    signal(reader, Signal::CONT)?;
    let continued = Instant::now();
    watch.wait_for_status_within("the VM is certain again", ONE_SECOND, |status| {
        status.status == StatusKind::Certain
    })?;
    let healed = continued.elapsed();

    let records_a_write = if context.hooks == Hooks::Precise { 2 } else { 1 };
    let produced = writes * records_a_write;
    let of_kind = |status: &&Status| status.status == StatusKind::Lost;
    let lost: u64 = watch
        .statuses()
        .iter()
        .filter(of_kind)
        .filter_map(|status| status.records)
        .sum();
    note(&format!(
        "{produced} records, {lost} of them lost; healed in {healed:?}"
    ))?;
    require(produced > 2 * ROOM, || {
        format!("{writes} writes are too few to overflow the ring")
    })?;
    watch.require(
        lost + ROOM == produced,
        &format!(
            "of {produced} records {ROOM} found room, so that {} should be counted as lost, {lost} are",
            produced - ROOM
        ),
    )?;
    let kinds: Vec<_> = watch.statuses().iter().map(|status| status.status).collect();
    watch.require(
        kinds == [StatusKind::Lost, StatusKind::Uncertain, StatusKind::Certain],
        &format!("lost, uncertain, certain should be said, in this order; {kinds:?} was"),
    )?;

    storm.settle()?;
    settles_at(&mut watch, None, &[])?;
    Ok(())
}
