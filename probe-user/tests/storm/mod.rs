//! A storm in memory: what the observer reports of VMs whose guests write their LDRs as fast as they can, the same in every
//! run.
//!
//! An *event* is a record of the ring, told as a [`Touched`]. One read of the VM, a *sample*, follows each batch of them, as
//! on a live host. What is counted is told by whoever uses it.

use std::time::Duration;

use ldrscope::{
    engine::{Engine, output::Output},
    identity::{
        filter::VmFilter,
        process::{Process, ProcessSource},
    },
    observer::{HostFacts, Report},
};
use probe_apic::{
    apicv::Inhibits,
    cause::{Register, Route, Task},
    id::{BootTime, VcpuId, VcpuIdx, VmId},
    lapic::Lapic,
    map_rules::MapRules,
    observation::{Irqchip, Observation, Origin, Touch, Touched, VcpuSample, VmSample, VmSeen},
    rebuild::rebuild,
    reg::{Ldr, Svr},
};
use rustix::time::{ClockId, clock_gettime};

/// The time that this thread has been running.
pub(crate) fn running() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// The rules of the host: those under which a multi-bit LDR breaks destinations.
const RULES: MapRules = MapRules::Overwrite;

/// From one batch to the next, in nanoseconds: as long as a busy host's records are let gather.
const BETWEEN_BATCHES: u64 = 5_000_000;

/// A host without processes.
struct Nobody;

impl ProcessSource for Nobody {
    fn read(&self, _pid: u32) -> Option<Process> {
        None
    }
}

/// An engine that knows no VM yet.
pub(crate) fn engine() -> Engine {
    let facts = HostFacts {
        kernel: "6.1.0".to_owned(),
        kvm_vendor: "amd".to_owned(),
        possible_rules: vec![RULES],
        rules_proven: true,
        precise: true,
        vector_hashing: Some(true),
    };
    Engine::new(facts, 200_000_000, VmFilter::new(None), Box::new(Nobody))
}

/// One VM and what its guest is at.
pub(crate) struct StormyVm {
    id: VmId,
    vcpus: Vec<VcpuSample>,
    recalculations: u64,
    batches: u64,
}

impl StormyVm {
    /// A VM with that many vCPUs, at most 8 for all to have a slot of their own.
    pub(crate) fn new(number: u64, vcpus: u32) -> Self {
        let vcpu = |number: u32| VcpuSample {
            idx: VcpuIdx(number),
            id: VcpuId(number),
            lapic: Lapic {
                ldr: own_ldr(number),
                svr: Svr(0x1ff),
                sw_enabled: true,
                ..Lapic::power_on(VcpuId(number))
            },
        };
        Self {
            id: VmId(number),
            vcpus: (0..vcpus).map(vcpu).collect(),
            recalculations: 0,
            batches: 0,
        }
    }

    /// Its birth and its first read.
    pub(crate) fn birth(&self, at: BootTime) -> Vec<Report> {
        let seen = VmSeen {
            vm: self.id,
            at,
            origin: Origin::Birth,
        };
        let process = Report::Process {
            vm: self.id,
            pid: 1000 + self.id.0 as u32,
            discriminator: String::new(),
        };
        let seen = Report::Observation(Observation::VmSeen(seen));
        vec![seen, process, self.read(at)]
    }

    /// Leaves it broken: two vCPUs share a slot from now on.
    pub(crate) fn break_slot(&mut self) {
        self.vcpus[1].lapic.ldr = self.vcpus[0].lapic.ldr;
        self.recalculations += 1;
    }

    /// What is read of it now.
    pub(crate) fn read(&self, at: BootTime) -> Report {
        Report::Observation(Observation::Sample(VmSample {
            vm: self.id,
            at,
            trigger: at,
            published: rebuild(&self.vcpus, false, RULES).map,
            mapped_vcpus: Some(self.vcpus.len() as u32),
            recalculations: self.recalculations,
            vcpus: self.vcpus.clone(),
            consistent: true,
            irqchip: Irqchip::Kernel,
            x2apic_format: false,
            broadcast_quirk_disabled: false,
            apicv_inhibits: Inhibits::NONE,
            aims: Vec::new(),
        }))
    }

    /// The next batch: `events` touches. Of every eight there are three writes of an LDR, a restore, and the four
    /// recalculations that follow. Every other batch leaves a multi-bit LDR behind.
    pub(crate) fn batch(&mut self, events: usize, at: BootTime) -> Vec<Report> {
        self.batches += 1;
        let leaves_broken = !self.batches.is_multiple_of(2);
        let reports = (0..events).map(|event| {
            let last_of_vcpu = event + 2 * self.vcpus.len() >= events;
            let number = event / 2 % self.vcpus.len();
            let round = event / 2 / self.vcpus.len();
            let restored = event % 8 >= 6;
            if event.is_multiple_of(2) {
                let own = own_ldr(number as u32);
                let odd = if last_of_vcpu {
                    leaves_broken && number == 0
                } else {
                    round.is_multiple_of(2)
                };
                let before = self.vcpus[number];
                let ldr = if odd { Ldr(own.0 | 0xff00_0000) } else { own };
                self.vcpus[number].lapic.ldr = ldr;
                let what = if restored {
                    Touch::Entered(Route::SetLapic)
                } else {
                    Touch::Wrote {
                        register: Register::Ldr,
                        old: Some(before.lapic.ldr.0.into()),
                        new: ldr.0.into(),
                        guest_rip: Some(0xffff_ffff_8100_0000),
                    }
                };
                self.touch(what, &before, at)
            } else {
                self.recalculations += 1;
                self.touch(Touch::Recalculated, &self.vcpus[number], at)
            }
        });
        reports.collect()
    }

    fn touch(&self, what: Touch, vcpu: &VcpuSample, at: BootTime) -> Report {
        Report::Observation(Observation::Touched(Touched {
            vm: self.id,
            at,
            recalculations: self.recalculations,
            what,
            vcpu: Some(vcpu.id),
            lapic: Some(vcpu.lapic),
            task: Task {
                tid: 2000 + vcpu.id.0,
                tgid: 1000 + self.id.0 as u32,
                comm: "CPU 0/KVM".into(),
            },
        }))
    }
}

/// Flat: a bit each.
const fn own_ldr(number: u32) -> Ldr {
    Ldr(1 << (24 + number % 8))
}

/// A host on which VMs storm, and the engine that takes it in.
pub(crate) struct Host {
    pub(crate) engine: Engine,
    pub(crate) now: BootTime,
    pub(crate) vms: Vec<StormyVm>,
}

impl Host {
    /// That many VMs with 8 vCPUs each; all but the first have a broken slot.
    pub(crate) fn with(vms: u64) -> Self {
        let mut host = Self {
            engine: engine(),
            now: BootTime(0),
            vms: (1..=vms).map(|number| StormyVm::new(number, 8)).collect(),
        };
        host.vms.iter_mut().skip(1).for_each(StormyVm::break_slot);
        let births: Vec<Report> = host.vms.iter().flat_map(|vm| vm.birth(host.now)).collect();
        host.take_in(births);
        host
    }

    /// The next batch of one VM and the read that follows.
    pub(crate) fn batch(&mut self, vm: usize, events: usize) -> Vec<Report> {
        self.now = self.now.plus(BETWEEN_BATCHES);
        let vm = &mut self.vms[vm];
        let mut reports = vm.batch(events, self.now);
        reports.push(vm.read(self.now));
        reports
    }

    /// What the live loop does with reports, reads apart: what is to be told, and when it would look again.
    pub(crate) fn take_in(
        &mut self,
        reports: impl IntoIterator<Item = Report>,
    ) -> (Vec<Output>, Option<BootTime>) {
        for report in reports {
            self.engine.feed(report, self.now);
        }
        self.engine.take_refresh_due(self.now);
        (self.engine.poll(self.now), self.engine.next_due())
    }

    /// Lets a batch of the first VM go by, over and over, until there is nothing left that happens once.
    pub(crate) fn warm_up(&mut self) {
        for _ in 0..64 {
            let reports = self.batch(0, 512);
            self.take_in(reports);
        }
    }
}
