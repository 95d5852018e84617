//! What a fuzzer may make happen: eight bytes a step, so that a changed byte changes one thing of one step.

use probe_apic::{
    aim::{Aim, AimSource},
    cause::{Register, Route},
    map::MapMode,
    map_rules::MapRules,
};

/// Bytes ahead of the steps: the rules that the types allow, those to judge by instead, the settle time in
/// milliseconds, and whether the end is abrupt.
const HEAD: usize = 4;
const STEP: usize = 8;

/// What the first byte of a step means, as far as seeds need it.
pub(super) mod op {
    pub(in crate::rules) const APPEAR: u8 = 0;
    pub(in crate::rules) const VANISH: u8 = 1;
    pub(in crate::rules) const LOSE: u8 = 2;
    pub(in crate::rules) const WAIT: u8 = 3;
    pub(in crate::rules) const CREATE: u8 = 4;
    pub(in crate::rules) const BOOT: u8 = 5;
    pub(in crate::rules) const WRITE: u8 = 6;
    pub(in crate::rules) const ENABLE: u8 = 7;
    pub(in crate::rules) const INIT: u8 = 8;
    pub(in crate::rules) const AIM: u8 = 9;
    pub(in crate::rules) const SWITCH: u8 = 10;
    pub(in crate::rules) const TOUCH: u8 = 11;
    pub(in crate::rules) const MISREAD: u8 = 12;
    pub(in crate::rules) const READ: u8 = 13;
    /// Half of all numbers are reads: nothing is judged without.
    pub(super) const ALL: u8 = 2 * READ;
}

/// One input.
#[derive(Clone, Debug)]
pub(super) struct Story {
    pub(super) possible: Vec<MapRules>,
    pub(super) as_if: Option<MapRules>,
    pub(super) settle_millis: u8,
    /// The VMs end while things are still pending.
    pub(super) ends_abruptly: bool,
    pub(super) steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub(super) struct Step {
    /// One of three VMs.
    pub(super) vm: u64,
    pub(super) what: What,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    Appear {
        scanned: bool,
    },
    Vanish,
    Lose,
    Wait {
        millis: u32,
    },
    /// Something that changes the VM, unseen.
    Change(Change),
    Touch(Touched),
    Read(Read),
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    /// vCPUs in power-on state, from this number on.
    Create {
        first: u32,
        count: u32,
    },
    Boot(Boot),
    /// One register of one vCPU.
    Write {
        vcpu: u8,
        register: Register,
        value: u32,
    },
    SoftwareEnable {
        vcpu: u8,
        enabled: bool,
    },
    Init {
        vcpu: u8,
    },
    Aim(Aim),
    AimAtNothing,
    X2apicFormat,
    DisableBroadcastQuirk,
    Inhibit {
        bits: u32,
    },
}

/// How a guest sets up all of its vCPUs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Boot {
    Flat,
    Cluster,
    X2apic,
    /// Every LDR is the APIC ID.
    Bigsmp,
}

/// An event, of a vCPU where there is one of that number.
#[derive(Clone, Debug)]
pub(super) struct Touched {
    pub(super) vcpu: u8,
    pub(super) kind: TouchKind,
    pub(super) with_registers: bool,
    /// How many recalculations earlier it happened than it is heard of.
    pub(super) late_by: u8,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum TouchKind {
    Recalculated,
    VcpuBorn,
    Entered(Route),
    Wrote { register: Register, new: u32 },
}

/// A read of a VM of which KVM published the map by these rules.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub(super) published_by: MapRules,
    pub(super) fault: Option<Fault>,
    /// Whether the count of walked vCPUs is known.
    pub(super) mapped: bool,
}

/// How a read fails to be honest.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    Torn,
    NullMap,
    /// Read before the last recalculation was counted.
    OldCount,
    UserspaceIrqchip,
    SplitIrqchip,
    /// A published map that no rules make: its mode, and an entry of each part.
    OddMap {
        mode: MapMode,
        slot: u8,
        id: u8,
        idx: u8,
    },
    /// A vCPU whose numbers are those of a damaged copy.
    OddNumbers {
        vcpu: u8,
        idx: u16,
        id: u16,
    },
}

fn one_of<T: Copy>(all: &[T], number: u8) -> T {
    all[usize::from(number) % all.len()]
}

impl Story {
    /// The story that these bytes tell; `None` where they are too few for a beginning.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let (&[possible, as_if, settle_millis, ends], steps) = bytes.split_first_chunk::<HEAD>()?;
        let possible = match possible % 4 {
            0 => vec![MapRules::Overwrite, MapRules::KeepDisabled],
            1 => vec![MapRules::ConflictDisables],
            2 => MapRules::ALL.to_vec(),
            _ => Vec::new(),
        };
        Some(Self {
            possible,
            as_if: as_if
                .checked_sub(0xfd)
                .map(|number| one_of(&MapRules::ALL, number)),
            settle_millis,
            ends_abruptly: ends & 1 == 1,
            steps: steps.as_chunks::<STEP>().0.iter().map(Step::of).collect(),
        })
    }
}

impl Step {
    fn of(&[op, vm, a, b, v0, v1, v2, v3]: &[u8; STEP]) -> Self {
        let value = u32::from_le_bytes([v0, v1, v2, v3]);
        let what = match op % op::ALL {
            op::APPEAR => What::Appear { scanned: a & 1 == 1 },
            op::VANISH => What::Vanish,
            op::LOSE => What::Lose,
            op::WAIT => What::Wait {
                millis: value & 0xffff,
            },
            op::TOUCH => What::Touch(Touched {
                vcpu: a,
                kind: match b & 3 {
                    0 => TouchKind::Recalculated,
                    1 => TouchKind::VcpuBorn,
                    2 => TouchKind::Entered(one_of(&Route::ALL, v0)),
                    _ => TouchKind::Wrote {
                        register: one_of(&Register::ALL, v0),
                        new: value,
                    },
                },
                with_registers: b & 4 != 0,
                late_by: b >> 4,
            }),
            op::MISREAD => What::Read(Read {
                published_by: one_of(&MapRules::ALL, a),
                fault: Some(Fault::of(b, [v0, v1, v2, v3])),
                mapped: false,
            }),
            change if change < op::TOUCH => What::Change(Change::of(change, a, b, value)),
            _ => What::Read(Read {
                published_by: one_of(&MapRules::ALL, a),
                fault: None,
                mapped: b & 1 == 1,
            }),
        };
        Self {
            vm: u64::from(vm % 3),
            what,
        }
    }
}

impl Change {
    fn of(op: u8, a: u8, b: u8, value: u32) -> Self {
        match op {
            op::CREATE => Self::Create {
                first: value % 1024,
                count: u32::from(a % 20),
            },
            op::BOOT => Self::Boot(one_of(
                &[Boot::Flat, Boot::Cluster, Boot::X2apic, Boot::Bigsmp],
                a,
            )),
            op::WRITE => Self::Write {
                vcpu: a,
                register: one_of(&Register::ALL, b),
                value,
            },
            op::ENABLE => Self::SoftwareEnable {
                vcpu: a,
                enabled: b & 1 == 1,
            },
            op::INIT => Self::Init { vcpu: a },
            op::AIM => Self::Aim(Aim {
                source: one_of(&[AimSource::Ioapic, AimSource::MsiRoute, AimSource::Icr], a),
                index: a.into(),
                dest: value & 0xffff,
                vector: (value >> 16) as u8,
                logical: b & 1 == 0,
                lowest_priority: b & 2 != 0,
            }),
            _ => match a & 3 {
                0 => Self::AimAtNothing,
                1 => Self::X2apicFormat,
                2 => Self::DisableBroadcastQuirk,
                _ => Self::Inhibit { bits: value },
            },
        }
    }
}

impl Fault {
    fn of(kind: u8, [v0, v1, v2, v3]: [u8; 4]) -> Self {
        const MODES: [MapMode; 6] = [
            MapMode::Disabled,
            MapMode::SwDisabled,
            MapMode::Flat,
            MapMode::Cluster,
            MapMode::X2apic,
            MapMode::Mixed,
        ];
        match kind % 7 {
            0 => Self::Torn,
            1 => Self::NullMap,
            2 => Self::OldCount,
            3 => Self::UserspaceIrqchip,
            4 => Self::SplitIrqchip,
            5 => Self::OddMap {
                mode: one_of(&MODES, v0),
                slot: v1,
                id: v2,
                idx: v3,
            },
            _ => Self::OddNumbers {
                vcpu: kind / 7,
                idx: u16::from_le_bytes([v0, v1]),
                id: u16::from_le_bytes([v2, v3]),
            },
        }
    }
}
