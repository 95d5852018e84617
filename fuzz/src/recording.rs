//! A recording with any content at all in its frames, played to its end and looked at. The checksums are right: what they
//! keep out is tried where the format is.

use ldrscope::tape::{Player, PlayerOptions, Replayed};
use probe_apic::{
    id::{BootTime, VcpuId, VcpuIdx, VmId},
    lapic::Lapic,
    map_rules::MapRules,
    observation::{Irqchip, Observation, Origin, VcpuSample, VmSample, VmSeen},
    rebuild::rebuild,
    reg::{Ldr, Svr},
};
use recording::{Flags, Host, MAX_CONTENT, Packer, Reader, end_frame, file_header, pack_frame};

use crate::Target;

/// The target.
pub const TARGET: Target = Target {
    name: "recording",
    check,
    seeds,
    show,
};

const BASE: u64 = 1_000_000_000;

/// A file of two frames: one in order, so that there is a host with a VM, and the input.
fn file(input: &[u8]) -> Vec<u8> {
    let mut file = file_header(Flags::default()).to_vec();
    for content in [beginning().content(), &input[..input.len().min(MAX_CONTENT)]] {
        // Neither is too long.
        let _ = pack_frame(content, BASE, &mut file);
    }
    end_frame(BootTime(BASE), &mut file);
    file
}

fn check(input: &[u8]) {
    let file = file(input);
    for as_kvm in [None, Some(MapRules::ConflictDisables)] {
        let options = PlayerOptions {
            as_kvm,
            ..PlayerOptions::default()
        };
        let mut player = Player::open(&file[..], options).expect("the header is in order");
        let mut told = Vec::new();
        while let Ok(Replayed::To(_)) = player.step(&mut told) {
            told.clear();
        }
        let engine = player.engine().expect("the first frame is in order");
        assert!(
            engine
                .view(player.now())
                .vms
                .iter()
                .all(|view| view.vm.sampled_yet())
        );
    }
}

fn show(input: &[u8]) -> String {
    let file = file(input);
    let mut shown = String::new();
    if let Ok(mut reader) = Reader::open(&file[..]) {
        loop {
            match reader.next_entry() {
                Ok(Some((now, entry))) => shown.push_str(&format!("{} {entry:?}\n", now.0)),
                Ok(None) => return shown,
                Err(error) => return format!("{shown}{error}"),
            }
        }
    }
    shown
}

fn seeds() -> Vec<Vec<u8>> {
    let mut later = Packer::new();
    let now = BootTime(BASE + 5_000_000);
    later.observed(now, &Observation::Sample(sample(now, &[1, 1, 3])));
    later.dropped(now, 3);
    later.polled(BootTime(2 * BASE));
    later.unloaded(BootTime(3 * BASE));
    vec![beginning().content().to_vec(), later.content().to_vec()]
}

fn beginning() -> Packer {
    let mut packer = Packer::new();
    let now = BootTime(BASE);
    packer.host(
        now,
        &Host {
            kernel: "6.1".to_owned(),
            kvm_vendor: "amd".to_owned(),
            possible_rules: vec![MapRules::Overwrite],
            rules_proven: true,
            precise: false,
            vector_hashing: Some(true),
            settle_nanos: 200_000_000,
            all_vms: true,
        },
    );
    packer.observed(
        now,
        &Observation::VmSeen(VmSeen {
            vm: VmId(1),
            at: now,
            origin: Origin::Birth,
        }),
    );
    packer.observed(now, &Observation::Sample(sample(now, &[1, 2, 4])));
    packer.polled(now);
    packer
}

fn sample(at: BootTime, logical_ids: &[u32]) -> VmSample {
    let vcpu = |(number, logical_id): (u32, &u32)| VcpuSample {
        idx: VcpuIdx(number),
        id: VcpuId(number),
        lapic: Lapic {
            ldr: Ldr(logical_id << 24),
            svr: Svr(0x1ff),
            sw_enabled: true,
            ..Lapic::power_on(VcpuId(number))
        },
    };
    let vcpus: Vec<_> = (0..).zip(logical_ids).map(vcpu).collect();
    VmSample {
        vm: VmId(1),
        at,
        trigger: at,
        published: rebuild(&vcpus, false, MapRules::Overwrite).map,
        mapped_vcpus: None,
        recalculations: 1,
        vcpus,
        consistent: true,
        irqchip: Irqchip::Kernel,
        x2apic_format: false,
        broadcast_quirk_disabled: false,
        apicv_inhibits: probe_apic::apicv::Inhibits::NONE,
        aims: Vec::new(),
    }
}
