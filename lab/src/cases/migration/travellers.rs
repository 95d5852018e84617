//! The guests that migrate: the registers that they write, and what about them is odd. Who makes what of these registers
//! is for ldrscope to say and for `migration` to compare.

use crate::guest::lapic::{DFR_CLUSTER, DFR_FLAT, SVR_DISABLED, SVR_ENABLED};
use crate::qemu::{Cpu, Firmware, Identity, Pin};

/// A guest that migrates.
#[derive(Debug, Clone, Copy)]
pub(super) struct Traveller {
    pub(super) identity: Identity,
    pub(super) firmware: Firmware<'static>,
    /// Whether another KVM delivers some interrupt of this guest to other vCPUs than the one it comes from.
    pub(super) fares_differently: bool,
}

/// A model that is neither flat nor cluster.
const DFR_ODD: u32 = 0x5FFF_FFFF;

pub(super) const ALL: [Traveller; 4] = [
    // Several bits in one LDR, one ID twice, one left over on a disabled APIC; a pin aims at a slot in dispute.
    Traveller {
        identity: Identity {
            name: "odd-flat",
            uuid: "9e6f1c2a-0001-4c5e-8a51-0d1d20190001",
        },
        firmware: Firmware {
            cpus: &[
                flat(0x01),
                flat(0x03),
                flat(0x02),
                flat(0x88),
                flat(0x08),
                disabled(flat(0x04)),
            ],
            pins: &[Pin {
                number: 4,
                vector: 0x41,
                dest: 0x01,
            }],
        },
        fares_differently: true,
    },
    Traveller {
        identity: Identity {
            name: "odd-cluster",
            uuid: "9e6f1c2a-0001-4c5e-8a51-0d1d20190002",
        },
        firmware: Firmware {
            cpus: &[
                cluster(0x11),
                cluster(0x12),
                cluster(0x16),
                cluster(0x21),
                cluster(0x21),
            ],
            pins: &[],
        },
        fares_differently: true,
    },
    // Every mode at once: any KVM scans, and finds the same vCPUs.
    Traveller {
        identity: Identity {
            name: "mixed",
            uuid: "9e6f1c2a-0001-4c5e-8a51-0d1d20190003",
        },
        firmware: Firmware {
            cpus: &[
                flat(0x01),
                flat(0x00),
                cluster(0x12),
                Cpu {
                    dfr: DFR_ODD,
                    ..flat(0x04)
                },
                Cpu {
                    x2apic: true,
                    ..flat(0x08)
                },
            ],
            pins: &[],
        },
        fares_differently: false,
    },
    Traveller {
        identity: Identity {
            name: "healthy",
            uuid: "9e6f1c2a-0001-4c5e-8a51-0d1d20190004",
        },
        firmware: Firmware {
            cpus: &[flat(0x01), flat(0x02), flat(0x04), flat(0x08)],
            pins: &[Pin {
                number: 4,
                vector: 0x41,
                dest: 0x0F,
            }],
        },
        fares_differently: false,
    },
];

const fn flat(logical_id: u8) -> Cpu {
    Cpu {
        dfr: DFR_FLAT,
        logical_id,
        svr: SVR_ENABLED,
        x2apic: false,
    }
}

const fn cluster(logical_id: u8) -> Cpu {
    Cpu {
        dfr: DFR_CLUSTER,
        ..flat(logical_id)
    }
}

const fn disabled(cpu: Cpu) -> Cpu {
    Cpu {
        svr: SVR_DISABLED,
        ..cpu
    }
}
