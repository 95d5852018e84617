//! The kvm module goes and comes back while ldrscope watches: with new addresses, or as another build.

use std::time::{Duration, Instant};

use super::{mostly_within, note, shell};
use crate::cases::refusal::colliding;
use crate::cases::{Bench, CaseResult, Context};
use crate::outside::attached::Attached;
use crate::tool::{PATIENCE, Standing, Watch};

/// From a reload until ldrscope is attached again, and from an unload until it is said.
const KNOWN: Duration = Duration::from_secs(2);
/// The line of a watch that stands.
const WATCHING: &str = "watching ";
const UNLOADED: &str = "was unloaded";

/// Unloaded without a VM, gone for a while or for no time at all, loaded again.
pub(in crate::cases) fn again(context: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let mut watch = Watch::ready(context.hooks)?;
    let attached = Attached::settled()?;
    let mut times = Vec::new();
    for number in 0..context.scaled(3, 30) {
        let [stood, unloaded] = [WATCHING, UNLOADED].map(|words| said(&watch, words));
        super::unload_kvm()?;
        if number % 2 == 0 {
            said_again(&mut watch, UNLOADED, unloaded)?;
        }
        shell("modprobe kvm-amd")?;
        let loaded = Instant::now();
        said_again(&mut watch, WATCHING, stood)?;
        times.push(loaded.elapsed());
        sees(&mut watch)?;
        super::nothing_left_attached(attached)?;
    }
    mostly_within(KNOWN, times, "being attached again after a reload")
}

/// Another build of the same kernel's KVM, with other addresses and other map rules: the one of 2019 gives way to the
/// kernel's own, which the machine has beside it, and comes back.
pub(in crate::cases) fn another_build(context: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let mut watch = Watch::ready(context.hooks)?;
    let module = shell("find /lib/modules -name kvm.stock.ko")?;
    let stock = format!("insmod {} && modprobe kvm-amd", module.trim_end());
    for (load, rules) in [
        (stock.as_str(), "map rules overwrite"),
        ("modprobe kvm-amd", "map rules keep-disabled"),
    ] {
        let stood = said(&watch, rules);
        super::unload_kvm()?;
        shell(load)?;
        said_again(&mut watch, rules, stood)?;
        sees(&mut watch)?;
    }
    Ok(())
}

/// How often it said so on stderr.
fn said(watch: &Watch, words: &str) -> usize {
    watch.stderr().matches(words).count()
}

fn said_again(watch: &mut Watch, words: &str, before: usize) -> CaseResult {
    let start = Instant::now();
    while said(watch, words) == before {
        watch.take_lines_for(Duration::from_millis(20))?;
        watch.require(start.elapsed() < PATIENCE, &format!("it should say {words:?}"))?;
    }
    note(&format!("said {words:?} after {:?}", start.elapsed()))
}

/// A collision is told, and its end.
fn sees(watch: &mut Watch) -> CaseResult {
    let guest = colliding()?;
    watch.wait_for("a collision is told", PATIENCE, |standing| !standing.is_empty())?;
    drop(guest);
    watch.wait_for("its end is told", PATIENCE, Standing::is_empty)?;
    Ok(())
}
