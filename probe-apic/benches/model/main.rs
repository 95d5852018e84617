//! What the model costs by the number of vCPUs: the rebuilt map, the table of deliveries, the judgement of a VM, and a
//! read of it that shows nothing new.
//!
//! Short by default (`cargo bench -p probe-apic`); what counts is how the figures grow from one size to the next.

mod guests;

use std::{hint::black_box, time::Duration};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use guests::Guest;
use probe_apic::{
    delivery::{Deliveries, DestinationMode, Fabric},
    host::Host,
    id::BootTime,
    map_rules::MapRules,
    observation::{Observation, Origin, VmSample, VmSeen},
    rebuild::rebuild,
    rules::judge,
};

/// Up to what KVM allows.
const SIZES: [(Guest, &[u32]); 5] = [
    (Guest::Flat, &[8]),
    (Guest::Cluster, &[8, 60]),
    (Guest::X2apic, &[8, 64, 255, 1024, 4096]),
    (Guest::Bigsmp, &[8, 64, 255]),
    (Guest::Hostile, &[8, 64, 255, 1024, 4096]),
];

/// The rules under which most is broken.
const RULES: MapRules = MapRules::Overwrite;

/// Every guest at every size that it comes in.
fn guests() -> impl Iterator<Item = (Guest, u32)> {
    SIZES
        .into_iter()
        .flat_map(|(guest, sizes)| sizes.iter().map(move |&size| (guest, size)))
}

/// Measures `work` on every guest at every size.
fn at_every_size(
    criterion: &mut Criterion,
    what: &str,
    mut work: impl FnMut(&mut criterion::Bencher<'_>, &VmSample),
) {
    let mut group = criterion.benchmark_group(what);
    for (guest, size) in guests() {
        let sample = guest.sample(size, RULES);
        group.throughput(Throughput::Elements(size.into()));
        group.bench_with_input(BenchmarkId::new(guest.name(), size), &sample, &mut work);
    }
    group.finish();
}

fn rebuilt_map(criterion: &mut Criterion) {
    at_every_size(criterion, "rebuild", |bencher, sample| {
        bencher.iter(|| rebuild(black_box(&sample.vcpus), false, RULES));
    });
}

fn delivery_table(criterion: &mut Criterion) {
    at_every_size(criterion, "deliveries", |bencher, sample| {
        let fabric = Fabric {
            vcpus: &sample.vcpus,
            map: sample.published.as_ref(),
            rules: RULES,
            x2apic_format: false,
            broadcast_quirk_disabled: false,
        };
        bencher.iter(|| Deliveries::compute(black_box(&fabric), DestinationMode::Logical));
    });
}

/// A host that has read this VM.
fn host_of(sample: &VmSample) -> Host {
    let mut host = Host::new([RULES]);
    host.apply(&Observation::VmSeen(VmSeen {
        vm: sample.vm,
        at: BootTime(0),
        origin: Origin::Birth,
    }));
    host.apply(&Observation::Sample(sample.clone()));
    host
}

#[expect(clippy::expect_used, reason = "a host has the VM whose sample it was given")]
fn judgement(criterion: &mut Criterion) {
    at_every_size(criterion, "judge", |bencher, sample| {
        let host = host_of(sample);
        let vm = host.vm(&sample.vm).expect("it was read");
        bencher.iter(|| judge(black_box(vm)));
    });
}

fn read_again(criterion: &mut Criterion) {
    at_every_size(criterion, "read again", |bencher, sample| {
        let mut host = host_of(sample);
        let again = Observation::Sample(sample.clone());
        bencher.iter(|| host.apply(black_box(&again)));
    });
}

fn short() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(50))
        .measurement_time(Duration::from_millis(200))
        .without_plots()
}

criterion_group! {
    name = benches;
    config = short();
    targets = rebuilt_map, delivery_table, judgement, read_again
}
criterion_main!(benches);
