//! VMs that come and go by the hundred: nothing of them is left, and none is taken for another.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{ONE_SECOND, footprint, has_not_grown, load, note};
use crate::cases::{Bench, CaseResult, Context};
use crate::contract::EventKind;
use crate::load::{End, Kind};
use crate::tool::{Standing, Watch, snapshot};

pub(in crate::cases) fn small(context: &Context, bench: &mut Bench) -> CaseResult {
    churn(context, bench, context.scaled(100, 1000), 4)
}

pub(in crate::cases) fn large(context: &Context, bench: &mut Bench) -> CaseResult {
    churn(context, bench, context.scaled(10, 200), 64)
}

fn churn(context: &Context, bench: &mut Bench, vms: u32, vcpus: u32) -> CaseResult {
    bench.clear();
    // Told at once: none of them lives for a settle time.
    let mut watch = Watch::ready_with(context.hooks, &["--settle", "0"])?;
    let mut warm_up = load(Kind::Churn, vms.div_ceil(5), vcpus, End::Sane)?;
    warm_up.go()?;
    warm_up.finish()?;
    watch.take_lines_for(ONE_SECOND)?;
    drop(warm_up);
    watch.forget();
    let before = footprint(&watch)?;

    let mut churn = load(Kind::Churn, vms, vcpus, End::Sane)?;
    churn.go()?;
    let start = std::time::Instant::now();
    let made = churn.finish()?;
    let took = start.elapsed();
    watch.wait_for("nothing of the last VM stands", ONE_SECOND, Standing::is_empty)?;
    watch.take_lines_for(Duration::from_millis(500))?;
    has_not_grown(&watch, before)?;
    note(&format!(
        "{made} VMs of {vcpus} vCPUs in {took:?}, {} events",
        watch.events().len()
    ))?;

    no_two_in_one(&watch)?;
    let left = snapshot(&[])?.vms;
    watch.require(left.is_empty(), &format!("no VM should be left, {left:?} is"))?;
    Ok(())
}

/// Each VM's vCPUs carry its number, so that a finding of two VMs' registers would show. A later VM of the same process may
/// have an earlier one's finding ids, but not while that stands.
fn no_two_in_one(watch: &Watch) -> CaseResult {
    let mut owners: BTreeMap<&str, u32> = BTreeMap::new();
    let mut told = 0;
    for event in watch.events() {
        let finding = &event.finding;
        let ldrs: Vec<u32> = finding
            .evidence
            .iter()
            .map(|vcpu| vcpu.ldr)
            .filter(|ldr| *ldr != 0)
            .collect();
        let Some(&first) = ldrs.first() else {
            continue;
        };
        told += 1;
        let owner = match event.event {
            EventKind::Raised => owners.insert(&finding.id, first).map_or(first, |_| 0),
            EventKind::Changed => owners.get(finding.id.as_str()).copied().unwrap_or_default(),
            EventKind::Cleared => owners.remove(finding.id.as_str()).unwrap_or_default(),
        };
        watch.require(
            ldrs.iter().all(|ldr| *ldr == first) && owner == first,
            &format!(
                "the finding {} should be one VM's, carries the LDRs {ldrs:x?}",
                finding.id
            ),
        )?;
    }
    watch.require(told > 0, "of so many VMs some should have been told of")?;
    Ok(())
}
