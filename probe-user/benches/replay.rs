//! How many events a second are analysed on one core, by the way that a recording takes: read, decoded, fed to the engine,
//! told.
//!
//! The recording is of a storm: every vCPU of every VM writes its LDR as fast as it can, the kernel side sends 512 events
//! of a VM and then leaves the rest out, and the VM is read. `cargo bench -p probe-user --bench replay`.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "criterion's macro documents nothing, and a bench fails by panicking"
)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ldrscope::tape::{Player, PlayerOptions, Replayed};
use probe_apic::{
    apicv::Inhibits,
    cause::Task,
    id::{BootTime, VcpuId, VcpuIdx, VmId},
    lapic::Lapic,
    map_rules::MapRules,
    observation::{Irqchip, Observation, Origin, Touch, Touched, VcpuSample, VmSample, VmSeen},
    rebuild::rebuild,
    reg::{Ldr, Svr},
};
use recording::{Belongs, Entry, Flags, Host, Identity, Namer, Reader, Writer};

const RULES: MapRules = MapRules::Overwrite;
const VMS: u64 = 50;
const VCPUS: u32 = 8;
/// What the kernel side sends of a VM before it is read again.
const BATCH: u64 = 512;
const ROUNDS: u64 = 8;
/// Between two rounds, in nanoseconds.
const ROUND: u64 = 5_000_000;

/// What the guests write.
#[derive(Clone, Copy)]
enum Storm {
    /// What is there already.
    Same,
    /// In each round another vCPU takes the first one's slot.
    Flapping,
}

impl Storm {
    fn vcpu(self, round: u64, number: u32) -> VcpuSample {
        let taken = matches!(self, Self::Flapping) && u64::from(number) == 1 + round % 2;
        let logical_id = if taken { 1 } else { 1 << number };
        let lapic = Lapic {
            ldr: Ldr(logical_id << 24),
            svr: Svr(0x1ff),
            sw_enabled: true,
            ..Lapic::power_on(VcpuId(number))
        };
        VcpuSample {
            idx: VcpuIdx(number),
            id: VcpuId(number),
            lapic,
        }
    }

    /// The recording, and how many events are in it.
    fn record(self) -> (Vec<u8>, u64) {
        let mut writer = Writer::new(Vec::new(), Flags::default()).unwrap();
        let packer = writer.packer();
        packer.host(BootTime(1), &host());
        for vm in (1..=VMS).map(VmId) {
            let seen = VmSeen {
                vm,
                at: BootTime(1),
                origin: Origin::Birth,
            };
            packer.observed(BootTime(1), &Observation::VmSeen(seen));
            packer.identified(BootTime(1), vm, &identity(vm));
        }
        for round in 1..=ROUNDS {
            let now = BootTime(round * ROUND);
            for vm in (1..=VMS).map(VmId) {
                for event in 0..BATCH {
                    packer.observed(now, &Observation::Touched(self.touched(vm, round, event)));
                }
                packer.observed(now, &Observation::Skipped(vm));
            }
            for vm in (1..=VMS).map(VmId) {
                packer.observed(now, &Observation::Sample(self.sample(vm, round)));
            }
            packer.polled(now);
        }
        let bytes = writer.finish(BootTime((ROUNDS + 1) * ROUND)).unwrap();
        (bytes, ROUNDS * VMS * (BATCH + 1))
    }

    fn touched(self, vm: VmId, round: u64, event: u64) -> Touched {
        let number = u32::try_from(event).unwrap() % VCPUS;
        Touched {
            vm,
            at: BootTime(round * ROUND - (BATCH - event) * 5_000),
            recalculations: (round - 1) * BATCH + event + 1,
            what: Touch::Recalculated,
            vcpu: Some(VcpuId(number)),
            lapic: Some(self.vcpu(round, number).lapic),
            task: Task {
                tid: u32::try_from(vm.0).unwrap() * 100 + number,
                tgid: u32::try_from(vm.0).unwrap() * 100,
                comm: format!("CPU {number}/KVM").as_str().into(),
            },
        }
    }

    fn sample(self, vm: VmId, round: u64) -> VmSample {
        let vcpus: Vec<_> = (0..VCPUS).map(|number| self.vcpu(round, number)).collect();
        VmSample {
            vm,
            at: BootTime(round * ROUND),
            trigger: BootTime(round * ROUND - 5_000),
            published: rebuild(&vcpus, false, RULES).map,
            mapped_vcpus: Some(VCPUS),
            recalculations: round * BATCH,
            vcpus,
            consistent: true,
            irqchip: Irqchip::Kernel,
            x2apic_format: false,
            broadcast_quirk_disabled: false,
            apicv_inhibits: Inhibits::NONE,
            aims: Vec::new(),
        }
    }
}

fn host() -> Host {
    Host {
        kernel: "6.1.0".to_owned(),
        kvm_vendor: "amd".to_owned(),
        possible_rules: vec![RULES],
        rules_proven: true,
        precise: false,
        vector_hashing: Some(true),
        settle_nanos: 200_000_000,
        all_vms: true,
    }
}

fn identity(vm: VmId) -> Identity {
    let pid = u32::try_from(vm.0).unwrap() * 100;
    Identity {
        name: format!("vm-{}", vm.0),
        named_by: Namer::Vmm,
        uuid: None,
        vmm: "qemu".to_owned(),
        pid: Some(pid),
        start_time: Some(0),
        owner: Some(pid),
        seen_at: Some(BootTime(1)),
        twin: false,
        discriminator: format!("#{}", vm.0),
        belongs: Belongs::default(),
    }
}

fn decode(recording: &[u8]) -> u64 {
    let mut reader = Reader::open(recording).unwrap();
    let mut touches = 0;
    while let Some((_, entry)) = reader.next_entry().unwrap() {
        touches += u64::from(matches!(entry, Entry::Observed(Observation::Touched(_))));
    }
    touches
}

fn replay(recording: &[u8]) -> u64 {
    let mut player = Player::open(recording, PlayerOptions::default()).unwrap();
    let mut told = Vec::new();
    let mut outputs = 0;
    while let Replayed::To(_) = player.step(&mut told).unwrap() {
        outputs += told.drain(..).count() as u64;
    }
    outputs
}

fn bench(criterion: &mut Criterion) {
    for (name, storm) in [("same", Storm::Same), ("flapping", Storm::Flapping)] {
        let (recording, events) = storm.record();
        assert_eq!(decode(&recording), ROUNDS * VMS * BATCH);
        let mut group = criterion.benchmark_group(format!("{name} ({} bytes)", recording.len()));
        group.throughput(Throughput::Elements(events));
        group.sample_size(20);
        group.bench_function("decode", |bencher| bencher.iter(|| decode(&recording)));
        group.bench_function("replay", |bencher| bencher.iter(|| replay(&recording)));
        group.finish();
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
