//! Events a second that the engine takes in on one core: a storm in memory, fed and polled as the live loop does it.
//!
//! An element of the throughput is an event, that is a record of the ring told as a touch. The read of the VM that follows
//! each batch, its judgement and the poll are in the time, and are not counted. The time is that of the thread: what else a
//! machine does is left out.

#[path = "../tests/storm/mod.rs"]
mod storm;

use std::{iter, time::Duration};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use storm::Host;

const HOSTS: [u64; 3] = [1, 100, 1000];

/// What the kernel side sends of a VM at most before that is read again.
const FULL_BATCH: usize = 512;

/// Takes in batches of that many events, each of the VM that `next` names.
fn take_in_batches(
    criterion: &mut Criterion,
    name: &str,
    events: usize,
    next: impl Fn(usize) -> Box<dyn Iterator<Item = usize>>,
) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(events as u64));
    for vms in HOSTS {
        let mut host = Host::with(vms);
        host.warm_up();
        let mut next = next(host.vms.len());
        group.bench_function(BenchmarkId::from_parameter(vms), |bencher| {
            bencher.iter_custom(|rounds| {
                let mut busy = Duration::ZERO;
                for vm in next.by_ref().take(rounds as usize) {
                    let reports = host.batch(vm, events);
                    let before = storm::running();
                    host.take_in(reports);
                    busy += storm::running() - before;
                }
                busy
            });
        });
    }
    group.finish();
}

fn storms(criterion: &mut Criterion) {
    // All but the first are quiet, each with a broken slot.
    take_in_batches(criterion, "one storms", FULL_BATCH, |_| Box::new(iter::repeat(0)));
    take_in_batches(criterion, "one trickles", 1, |_| Box::new(iter::repeat(0)));
    take_in_batches(criterion, "all storm in turn", FULL_BATCH, |vms| {
        Box::new((0..vms).cycle())
    });
}

fn short() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(500))
        .without_plots()
}

criterion_group! {
    name = benches;
    config = short();
    targets = storms
}
criterion_main!(benches);
