//! A ring that overflows: what was lost is counted to the record, and healed.

use std::thread;
use std::time::{Duration, Instant};

use super::{ONE_SECOND, load, mostly_within, note};
use crate::cases::expect::settles_at;
use crate::cases::{Bench, CaseError, CaseResult, Context, require};
use crate::contract::{Status, StatusKind};
use crate::host::Series;
use crate::load::{End, Kind};
use crate::outside::process::while_stopped;
use crate::tool::{PATIENCE, Watch};

/// Records of 128 bytes, each behind a header of 8, that find room in a ring of 64 KiB.
const ROOM: u64 = (64 << 10) / (128 + 8);
/// Records of one VM that ldrscope's kernel side sends before the VM has been read: a read shows what came of all others.
const UNANSWERED: u64 = 512;
/// Together they overflow the ring.
const VMS: u32 = 4;

/// The reader is stopped while guests write their LDRs flat out. One vCPU each, because then every write is one recalculation,
/// and what was produced is known: with precise hooks two records a write, else one.
pub(in crate::cases) fn stopped_reader(context: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let mut watch = Watch::ready_with(context.hooks, &["--ring-size", "64KiB"])?;
    let mut storm = load(Kind::Storm, VMS, 1, End::Sane)?;
    settles_at(&mut watch, None, &[])?;

    let [_, reader] = watch.processes()?;
    let writes = while_stopped(reader, || {
        storm.go()?;
        thread::sleep(Duration::from_secs(context.scaled(2, 5).into()));
        Ok::<_, CaseError>(storm.halt()?)
    })?;
    let continued = Instant::now();
    let certain = |status: &&Status| status.status == StatusKind::Certain;
    let mut healed = None;
    while healed.is_none() && continued.elapsed() < PATIENCE {
        watch.take_lines_for(Duration::from_millis(10))?;
        let all = watch.statuses().iter().filter(certain).count() == VMS as usize;
        healed = all.then(|| continued.elapsed());
    }

    let of_kind = |status: &&Status| status.status == StatusKind::Lost;
    let lost: u64 = watch
        .statuses()
        .iter()
        .filter(of_kind)
        .filter_map(|status| status.records)
        .sum();
    note(&format!(
        "{writes} writes, {lost} records lost; healed in {healed:?}"
    ))?;
    require(writes > 2 * UNANSWERED * u64::from(VMS), || {
        format!("{writes} writes are too few to try anything")
    })?;
    let sent = UNANSWERED * u64::from(VMS);
    // Programs that lose the CPU in a storm miss some, which are counted as well.
    let more = lost + ROOM > sent && Series::running().is_ok_and(Series::preempts_itself);
    watch.require(
        lost + ROOM == sent || more,
        &format!(
            "of {sent} records {ROOM} found room, so that {} should be counted as lost, {lost} are",
            sent - ROOM
        ),
    )?;
    for kind in [StatusKind::Uncertain, StatusKind::Certain] {
        let said = watch
            .statuses()
            .iter()
            .filter(|status| status.status == kind)
            .count();
        watch.require(
            said == VMS as usize,
            &format!("{kind:?} should be said once of each of {VMS} VMs, was {said} times"),
        )?;
    }
    mostly_within(ONE_SECOND, healed.into_iter().collect(), "healing")?;

    storm.settle()?;
    settles_at(&mut watch, None, &[])?;
    Ok(())
}
