//! A fabricated host: VMs in given register states, reported as the observer would.

use std::{collections::HashMap, fs, path::PathBuf};

use ldrscope::{
    engine::{Engine, output::Output},
    escape::is_unsafe,
    identity::{
        filter::VmFilter,
        process::{Process, ProcessSource},
    },
    observer::{HostFacts, Report},
};
use probe_apic::{
    aim::{Aim, AimSource},
    apicv::Inhibits,
    id::{BootTime, VcpuId, VcpuIdx, VmId},
    lapic::Lapic,
    map_rules::MapRules,
    observation::{Irqchip, Observation, Origin, VcpuSample, VmGone, VmSample, VmSeen},
    rebuild::rebuild,
    reg::{Dfr, Ldr, Svr},
};

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SETTLE: u64 = 200 * MS;
pub(crate) const UUID: &str = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";

/// Process 100 is a QEMU with a name and a UUID, 200 a VMM that nobody knows, with a hostile name.
pub(crate) struct Processes(HashMap<u32, Process>);

impl Processes {
    pub(crate) fn new() -> Self {
        let process = |cmdline: String, comm: &str| Process {
            cmdline: cmdline.into_bytes(),
            comm: comm.to_owned(),
            // Older than every VM of the tests.
            start_time: 0,
            ..Process::default()
        };
        let qemu = format!("qemu-system-x86_64\0-name\0guest=web,debug-threads=on\0-uuid\0{UUID}\0");
        Self(HashMap::from([
            (100, process(qemu, "qemu-system-x86")),
            (200, process("vmm\0".to_owned(), "e\x1b[31mvil\u{202e}")),
        ]))
    }
}

impl ProcessSource for Processes {
    fn read(&self, pid: u32) -> Option<Process> {
        self.0.get(&pid).cloned()
    }
}

pub(crate) fn facts(rules: MapRules) -> HostFacts {
    HostFacts {
        kernel: "6.1.0-56-amd64".to_owned(),
        kvm_vendor: "amd".to_owned(),
        possible_rules: vec![rules],
        rules_proven: true,
        precise: false,
        vector_hashing: Some(true),
    }
}

pub(crate) fn engine(rules: MapRules, wanted: Option<&str>) -> Engine {
    let filter = VmFilter::new(wanted.map(str::to_owned));
    Engine::new(facts(rules), SETTLE, filter, Box::new(Processes::new()))
}

/// An enabled xAPIC with this logical ID.
pub(crate) fn vcpu(number: u32, logical_id: u32) -> VcpuSample {
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

/// Four vCPUs a cluster, a bit each.
pub(crate) fn clustered(count: u32) -> Vec<VcpuSample> {
    let one = |number: u32| {
        let mut vcpu = vcpu(number, (number / 4) << 4 | 1 << (number % 4));
        vcpu.lapic.dfr = Dfr::CLUSTER;
        vcpu
    };
    (0..count).map(one).collect()
}

/// What the 2019 kernel's bigsmp left: LDR = APIC ID << 24.
pub(crate) fn bigsmp(count: u32) -> Vec<VcpuSample> {
    (0..count).map(|number| vcpu(number, number)).collect()
}

/// A healthy flat guest.
pub(crate) fn healthy(count: u32) -> Vec<VcpuSample> {
    (0..count).map(|number| vcpu(number, 1 << number)).collect()
}

pub(crate) fn pin(index: u32, dest: u32) -> Aim {
    Aim {
        source: AimSource::Ioapic,
        index,
        dest,
        vector: 0x30,
        logical: true,
        lowest_priority: false,
    }
}

/// A consistent read of a VM on a host with these rules.
pub(crate) fn sample(vm: u64, at: u64, vcpus: Vec<VcpuSample>, rules: MapRules) -> VmSample {
    VmSample {
        vm: VmId(vm),
        at: BootTime(at),
        trigger: BootTime(at),
        published: rebuild(&vcpus, false, rules).map,
        mapped_vcpus: None,
        recalculations: 0,
        vcpus,
        consistent: true,
        irqchip: Irqchip::Kernel,
        x2apic_format: false,
        broadcast_quirk_disabled: false,
        apicv_inhibits: Inhibits::NONE,
        aims: Vec::new(),
    }
}

pub(crate) fn seen(vm: u64, pid: u32, at: u64) -> [Report; 2] {
    let seen = VmSeen {
        vm: VmId(vm),
        at: BootTime(at),
        origin: Origin::Birth,
    };
    [
        Report::Observation(Observation::VmSeen(seen)),
        Report::Process {
            vm: VmId(vm),
            pid,
            discriminator: format!("{pid}-11"),
        },
    ]
}

pub(crate) fn read(sample: VmSample) -> Report {
    Report::Observation(Observation::Sample(sample))
}

pub(crate) fn gone(vm: u64, at: u64) -> Report {
    Report::Observation(Observation::VmGone(VmGone {
        vm: VmId(vm),
        at: BootTime(at),
    }))
}

/// Feeds everything at one moment and returns what is told then.
pub(crate) fn feed(engine: &mut Engine, at: u64, reports: impl IntoIterator<Item = Report>) -> Vec<Output> {
    for report in reports {
        engine.feed(report, BootTime(at));
    }
    engine.poll(BootTime(at))
}

/// Each output as `word VM rule slot`.
pub(crate) fn words(outputs: &[Output]) -> Vec<String> {
    let word = |output: &Output| match output {
        Output::Event(event) => {
            let key = &event.change.finding.key;
            let slot = key
                .slot
                .map(|slot| format!(" {}:{}", slot.cluster, slot.bit))
                .unwrap_or_default();
            format!(
                "{} {} {}{slot}",
                event.change.kind.name(),
                event.vm.name,
                key.rule.name()
            )
        }
        Output::Status(status) => {
            let vm = status.vm.as_ref().map_or("all", |vm| vm.name.as_str());
            format!("{} {vm}", status.kind.name())
        }
    };
    outputs.iter().map(word).collect()
}

/// Holds `text` against a golden file. `BLESS=1 cargo test -p probe-user` writes them anew.
#[track_caller]
pub(crate) fn golden(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/contract/golden/{name}.txt"));
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(text == expected, "{name} is not what it was; it is now:\n{text}");
    assert!(
        text.chars()
            .all(|character| character == '\n' || !is_unsafe(character)),
        "{name}"
    );
}
