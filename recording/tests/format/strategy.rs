//! Any entry there can be.

use probe_apic::{
    aim::{Aim, AimSource},
    apicv::{Inhibit, Inhibits},
    cause::{Register, Route, Task},
    comm::Comm,
    id::{ApicId, BootTime, Slot, VcpuId, VcpuIdx, VmId},
    lapic::Lapic,
    map::{MapMode, PublishedMap},
    map_rules::MapRules,
    observation::{
        Irqchip, Lost, Observation, Origin, Sent, Touch, Touched, VcpuSample, VmGone, VmSample, VmSeen,
    },
    reg::{ApicBase, Dfr, Ldr, Svr},
};
use proptest::{collection::vec, option, prelude::*, sample::select, test_runner::RngSeed};
use recording::{Belongs, Entry, Host, Identity, Namer};

/// The same cases in every run, unless `PROPTEST_RNG_SEED` asks for others; `PROPTEST_CASES` for more of them.
pub(crate) fn config() -> ProptestConfig {
    let given = ProptestConfig::default();
    ProptestConfig {
        rng_seed: match given.rng_seed {
            RngSeed::Random => RngSeed::Fixed(0x1d5c_09e5),
            fixed @ RngSeed::Fixed(_) => fixed,
        },
        failure_persistence: None,
        ..given
    }
}

/// Entries at moments that need not be in order.
pub(crate) fn any_story() -> impl Strategy<Value = Vec<(BootTime, Entry)>> {
    vec((any_time(), any_entry()), 0..12)
}

fn any_time() -> impl Strategy<Value = BootTime> {
    prop_oneof![
        3 => (0_u64..1 << 40).prop_map(BootTime),
        1 => any::<u64>().prop_map(BootTime)
    ]
}

fn any_entry() -> impl Strategy<Value = Entry> {
    prop_oneof![
        1 => any_host().prop_map(Entry::Host),
        1 => any::<i64>().prop_map(Entry::Clock),
        6 => any_observation().prop_map(Entry::Observed),
        2 => (any_vm(), any_identity())
            .prop_map(|(vm, identity)| Entry::Identified(vm, Box::new(identity))),
        1 => any::<u64>().prop_map(Entry::Dropped),
        1 => any::<u64>().prop_map(Entry::Uncounted),
        2 => Just(Entry::Polled),
        1 => Just(Entry::Unloaded),
    ]
}

fn any_vm() -> impl Strategy<Value = VmId> {
    any::<u64>().prop_map(VmId)
}

fn any_host() -> impl Strategy<Value = Host> {
    (
        (any::<String>(), any::<String>()),
        vec(select(&MapRules::ALL[..]), 0..4),
        any::<[bool; 3]>(),
        any::<Option<bool>>(),
        any::<u64>(),
    )
        .prop_map(
            |((kernel, kvm_vendor), possible_rules, [rules_proven, precise, all_vms], hashing, settle)| {
                Host {
                    kernel,
                    kvm_vendor,
                    possible_rules,
                    rules_proven,
                    precise,
                    vector_hashing: hashing,
                    settle_nanos: settle,
                    all_vms,
                }
            },
        )
}

pub(crate) fn any_identity() -> impl Strategy<Value = Identity> {
    let namers = [Namer::Nobody, Namer::Process, Namer::Vmm, Namer::Platform];
    (
        (any::<[String; 3]>(), any::<Option<String>>(), any::<bool>()),
        select(namers.to_vec()),
        any::<[Option<u32>; 2]>(),
        (any::<Option<u64>>(), option::of(any_time())),
        any::<[Option<String>; 9]>(),
    )
        .prop_map(
            |(
                ([name, vmm, discriminator], uuid, twin),
                named_by,
                [pid, owner],
                (start_time, seen_at),
                belongs,
            )| {
                let [
                    domain,
                    title,
                    namespace,
                    workload,
                    pod_uid,
                    project,
                    project_id,
                    user,
                    unit,
                ] = belongs;
                Identity {
                    name,
                    named_by,
                    uuid,
                    vmm,
                    pid,
                    start_time,
                    owner,
                    seen_at,
                    twin,
                    discriminator,
                    belongs: Belongs {
                        domain,
                        title,
                        namespace,
                        workload,
                        pod_uid,
                        project,
                        project_id,
                        owner: user,
                        unit,
                    },
                }
            },
        )
}

pub(crate) fn any_observation() -> impl Strategy<Value = Observation> {
    prop_oneof![
        1 => (any_vm(), any_time(), select(&[Origin::Birth, Origin::Scan][..]))
            .prop_map(|(vm, at, origin)| Observation::VmSeen(VmSeen { vm, at, origin })),
        1 => (any_vm(), any_time()).prop_map(|(vm, at)| Observation::VmGone(VmGone { vm, at })),
        1 => (any_vm(), any_time()).prop_map(|(vm, at)| Observation::Lost(Lost { vm, at })),
        1 => any_vm().prop_map(Observation::Skipped),
        4 => any_touched().prop_map(Observation::Touched),
        4 => any_sample().prop_map(Observation::Sample),
        2 => any_sent().prop_map(Observation::Sent),
    ]
}

fn any_sent() -> impl Strategy<Value = Sent> {
    (
        any_vm(),
        [any_time(), any_time()],
        any::<[u64; 2]>(),
        any::<u32>(),
        any::<u8>(),
        any::<bool>(),
    )
        .prop_map(
            |(vm, [from, until], [recalculations, count], dest, vector, lowest_priority)| Sent {
                vm,
                from,
                until,
                recalculations,
                dest,
                vector,
                lowest_priority,
                count,
            },
        )
}

fn any_lapic() -> impl Strategy<Value = Lapic> {
    (any::<[u32; 4]>(), any::<u64>(), any::<bool>()).prop_map(|([id, ldr, dfr, svr], base, sw_enabled)| {
        Lapic {
            id,
            ldr: Ldr(ldr),
            dfr: Dfr(dfr),
            svr: Svr(svr),
            apic_base: ApicBase(base),
            sw_enabled,
        }
    })
}

fn any_touched() -> impl Strategy<Value = Touched> {
    let wrote = (
        select(&Register::ALL[..]),
        any::<[Option<u64>; 2]>(),
        any::<u64>(),
    )
        .prop_map(|(register, [old, guest_rip], new)| Touch::Wrote {
            register,
            old,
            new,
            guest_rip,
        });
    let what = prop_oneof![
        Just(Touch::Recalculated),
        Just(Touch::VcpuBorn),
        select(&Route::ALL[..]).prop_map(Touch::Entered),
        wrote,
    ];
    let task = (any::<[u32; 2]>(), any::<[u8; 16]>()).prop_map(|([tid, tgid], comm)| Task {
        tid,
        tgid,
        comm: Comm::new(comm),
    });
    (
        any_vm(),
        any_time(),
        any::<u64>(),
        what,
        any::<Option<u32>>(),
        option::of(any_lapic()),
        task,
    )
        .prop_map(|(vm, at, recalculations, what, vcpu, lapic, task)| Touched {
            vm,
            at,
            recalculations,
            what,
            vcpu: vcpu.map(VcpuId),
            lapic,
            task,
        })
}

fn any_sample() -> impl Strategy<Value = VmSample> {
    let vcpu = (any::<[u32; 2]>(), any_lapic()).prop_map(|([idx, id], lapic)| VcpuSample {
        idx: VcpuIdx(idx),
        id: VcpuId(id),
        lapic,
    });
    let aim = (
        select(&[AimSource::Ioapic, AimSource::MsiRoute, AimSource::Icr][..]),
        any::<[u32; 2]>(),
        any::<u8>(),
        any::<[bool; 2]>(),
    )
        .prop_map(
            |(source, [index, dest], vector, [logical, lowest_priority])| Aim {
                source,
                index,
                dest,
                vector,
                logical,
                lowest_priority,
            },
        );
    let inhibits = vec(any::<String>(), 0..4).prop_map(|names| {
        names
            .iter()
            .map(|name| Inhibit::named(name))
            .collect::<Inhibits>()
    });
    (
        (any_vm(), any_time(), any_time(), any::<u64>()),
        vec(vcpu, 0..20),
        option::of(any_map()),
        any::<Option<u32>>(),
        any::<[bool; 3]>(),
        select(&[Irqchip::Userspace, Irqchip::Kernel, Irqchip::Split][..]),
        inhibits,
        vec(aim, 0..6),
    )
        .prop_map(
            |(
                (vm, at, trigger, recalculations),
                vcpus,
                published,
                mapped_vcpus,
                bits,
                irqchip,
                inhibits,
                aims,
            )| {
                let [consistent, x2apic_format, broadcast_quirk_disabled] = bits;
                VmSample {
                    vm,
                    at,
                    trigger,
                    vcpus,
                    published,
                    mapped_vcpus,
                    recalculations,
                    consistent,
                    irqchip,
                    x2apic_format,
                    broadcast_quirk_disabled,
                    apicv_inhibits: inhibits,
                    aims,
                }
            },
        )
}

fn any_map() -> impl Strategy<Value = PublishedMap> {
    let modes = [
        MapMode::Disabled,
        MapMode::SwDisabled,
        MapMode::Flat,
        MapMode::Cluster,
        MapMode::X2apic,
        MapMode::Mixed,
    ];
    let slot = (0_u8..16, 0_u8..8, any::<u32>())
        .prop_map(|(cluster, bit, vcpu)| (Slot { cluster, bit }, VcpuIdx(vcpu)));
    let physical = any::<[u32; 2]>().prop_map(|[id, vcpu]| (ApicId(id), VcpuIdx(vcpu)));
    (
        select(modes.to_vec()),
        vec(slot, 0..8),
        vec(physical, 0..8),
        any::<u32>(),
    )
        .prop_map(|(mode, slots, physical, max_apic_id)| PublishedMap {
            mode,
            slots,
            physical,
            max_apic_id,
        })
}
