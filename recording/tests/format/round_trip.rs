//! What was written comes back.

use probe_apic::{
    id::{BootTime, VcpuId, VcpuIdx, VmId},
    lapic::Lapic,
    map::MapMode,
    observation::{Irqchip, Observation, VcpuSample, VmSample},
};
use proptest::prelude::*;
use recording::{Ending, Entry, Flags, Host, MAX_CONTENT, Reader, Writer};

use crate::{pack, record, replay, strategy};

proptest! {
    #![proptest_config(strategy::config())]

    #[test]
    fn whatever_is_recorded_is_replayed(story in strategy::any_story(), frame in 1_usize..5) {
        let (replayed, ending) = replay(&record(&story, frame));
        prop_assert_eq!(ending.unwrap(), Ending::Whole);
        prop_assert_eq!(replayed, story);
    }
}

#[test]
fn a_recording_of_nothing_is_whole() {
    let (story, ending) = replay(&record(&[], 1));
    assert_eq!((story, ending.unwrap()), (Vec::new(), Ending::Whole));
}

#[test]
fn a_recording_says_whether_its_names_are_pseudonyms_and_interrupts_were_counted() {
    for (anonymised, interrupts) in [(false, false), (true, false), (false, true), (true, true)] {
        let flags = Flags {
            anonymised,
            interrupts,
        };
        let bytes = Writer::new(Vec::new(), flags)
            .unwrap()
            .finish(BootTime(1))
            .unwrap();
        assert_eq!(Reader::open(&bytes[..]).unwrap().flags(), flags);
    }
}

/// The largest VM that KVM can be built for, all of whose vCPUs take the most room, with an ICR each.
#[test]
fn the_largest_vm_fits_into_a_frame() {
    let vcpus = (0..4096).map(|number| VcpuSample {
        idx: VcpuIdx(u32::MAX - number),
        id: VcpuId(u32::MAX - number),
        lapic: Lapic::power_on(VcpuId(number)),
    });
    let sample = VmSample {
        vm: VmId(u64::MAX),
        at: BootTime(u64::MAX),
        trigger: BootTime(u64::MAX),
        vcpus: vcpus.collect(),
        published: Some(probe_apic::map::PublishedMap {
            mode: MapMode::X2apic,
            slots: Vec::new(),
            physical: (0..4096)
                .map(|number| (probe_apic::id::ApicId(u32::MAX - number), VcpuIdx(u32::MAX)))
                .collect(),
            max_apic_id: u32::MAX,
        }),
        mapped_vcpus: Some(u32::MAX),
        recalculations: u64::MAX,
        consistent: true,
        irqchip: Irqchip::Kernel,
        x2apic_format: true,
        broadcast_quirk_disabled: true,
        apicv_inhibits: probe_apic::apicv::Inhibits::NONE,
        aims: vec![
            probe_apic::aim::Aim {
                source: probe_apic::aim::AimSource::Icr,
                index: u32::MAX,
                dest: u32::MAX,
                vector: 0xff,
                logical: true,
                lowest_priority: true,
            };
            2 * 4096
        ],
    };
    let mut writer = Writer::new(Vec::new(), Flags::default()).unwrap();
    let entry = Entry::Observed(Observation::Sample(sample));
    pack(writer.packer(), BootTime(0), &entry);
    let bytes = writer.finish(BootTime(0)).unwrap();
    let content_len = u32::from_le_bytes(bytes[20..24].try_into().unwrap());
    assert!(
        content_len < u32::try_from(MAX_CONTENT / 2).unwrap(),
        "{content_len}"
    );
    assert_eq!(replay(&bytes).0, [(BootTime(0), entry)]);
}

/// A host whose first look alone is more than a frame may hold.
#[test]
fn a_lot_at_once_becomes_several_frames() {
    let name = |number: u64| {
        let text = number.to_string().repeat(2000);
        (BootTime(number), Entry::Host(host(&text)))
    };
    let story: Vec<_> = (0..500).map(name).collect();
    let (replayed, ending) = replay(&record(&story, story.len()));
    assert_eq!(ending.unwrap(), Ending::Whole);
    assert!(replayed == story);
}

#[test]
fn an_entry_that_no_reader_would_take_is_said_and_harms_no_other() {
    let mut writer = Writer::new(Vec::new(), Flags::default()).unwrap();
    writer.packer().host(BootTime(1), &host(&"x".repeat(MAX_CONTENT)));
    assert!(writer.flush().is_err());
    writer.packer().polled(BootTime(2));
    let bytes = writer.finish(BootTime(3)).unwrap();
    assert_eq!(replay(&bytes).0, [(BootTime(2), Entry::Polled)]);
}

fn host(kernel: &str) -> Host {
    Host {
        kernel: kernel.to_owned(),
        kvm_vendor: "amd".to_owned(),
        possible_rules: Vec::new(),
        rules_proven: false,
        precise: false,
        vector_hashing: None,
        settle_nanos: 0,
        all_vms: true,
    }
}
