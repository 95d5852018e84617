//! States that are tried before any random one: what is known to be delicate in KVM's map, and every state that ever
//! showed a fault, shrunk. `cargo xtask oracle` prints new ones as they are written here.

use super::state::Step::{self, *};
use crate::guest::lapic::ApicMode::{Off, X2apic, Xapic};
use crate::guest::lapic::ApicReg::{Dfr, Id, Ldr, Svr};

/// The states' steps.
pub(super) const REGRESSIONS: &[&[Step]] = &[
    // The 2019 map: slot 0 is claimed by every odd LDR, and by the boot vCPU after the crash.
    &[
        Create(0),
        Create(1),
        Create(2),
        Create(3),
        Restore(0, Ldr, 0x0100_0000),
        Restore(0, Svr, 0x1FF),
        Restore(1, Ldr, 0x0100_0000),
        Restore(1, Svr, 0xFF),
        Restore(2, Ldr, 0x0200_0000),
        Restore(2, Svr, 0x1FF),
        Restore(3, Ldr, 0x0300_0000),
        Restore(3, Svr, 0x1FF),
    ],
    // An LDR with bits that no xAPIC has: it counts for the mode, and names no slot.
    &[
        Create(0),
        Create(1),
        Restore(0, Ldr, 0x0000_0001),
        Restore(0, Svr, 0x1FF),
        Restore(1, Ldr, 0x1100_0000),
        Restore(1, Dfr, 0x0FFF_FFFF),
        Restore(1, Svr, 0x1FF),
    ],
    // The 32-bit LDR that x2APIC mode left behind.
    &[
        Create(0),
        Create(17),
        Restore(0, Ldr, 0x0100_0000),
        Restore(0, Svr, 0x1FF),
        SetMode(17, X2apic),
        SetMode(17, Off),
        SetMode(17, Xapic),
        Restore(17, Svr, 0x1FF),
    ],
    // A DFR that is flat by its model alone: cluster for KVM's map, nothing for its scan.
    &[
        Create(0),
        Create(1),
        Restore(0, Ldr, 0x0100_0000),
        Restore(0, Dfr, 0xF000_0000),
        Restore(0, Svr, 0x1FF),
        Restore(1, Ldr, 0x1200_0000),
        Restore(1, Dfr, 0x0FFF_FFFF),
        Restore(1, Svr, 0x1FF),
    ],
    // Two vCPUs of one physical ID: no map at all from 6.3 on ...
    &[
        Create(0),
        Create(256),
        Restore(0, Ldr, 0x0100_0000),
        Restore(0, Svr, 0x1FF),
        Restore(256, Ldr, 0x0200_0000),
        Restore(256, Svr, 0x1FF),
    ],
    // ... unless IDs have 32 bits.
    &[
        WideIds,
        Create(0),
        Create(256),
        Restore(0, Ldr, 0x0100_0000),
        Restore(0, Svr, 0x1FF),
        Restore(256, Ldr, 0x0200_0000),
        Restore(256, Svr, 0x1FF),
    ],
    // A vCPU that no recalculation has seen.
    &[
        Create(1),
        Restore(1, Ldr, 0x0200_0000),
        Restore(1, Svr, 0x1FF),
        Create(0),
    ],
    // Entries of the cluster model that a later flat vCPU makes worthless.
    &[
        Create(0),
        Create(1),
        Restore(0, Ldr, 0x1100_0000),
        Restore(0, Dfr, 0x0FFF_FFFF),
        Restore(0, Svr, 0x1FF),
        Restore(1, Ldr, 0x0100_0000),
        Restore(1, Svr, 0x1FF),
    ],
    // 0xFF as cluster 0 of x2APICs, and as broadcast of an xAPIC among them.
    &[
        NoBroadcastQuirk,
        Create(0),
        Create(9),
        SetMode(0, X2apic),
        Restore(0, Svr, 0x1FF),
        SetMode(9, X2apic),
        Restore(9, Svr, 0x1FF),
    ],
    &[
        NoBroadcastQuirk,
        Create(0),
        Create(9),
        Create(1),
        SetMode(0, X2apic),
        Restore(0, Svr, 0x1FF),
        SetMode(9, X2apic),
        Restore(9, Svr, 0x1FF),
        Restore(1, Svr, 0x1FF),
    ],
    // An ID of a restore that is not the vCPU's own: the x2APIC LDR came from it up to 6.10.
    &[
        Create(2),
        Create(3),
        SetMode(2, X2apic),
        Restore(2, Id, 0x0300_0000),
        Restore(2, Svr, 0x1FF),
        SetMode(3, X2apic),
        Restore(3, Svr, 0x1FF),
    ],
    // LDR and DFR in either order, by the guest, before and after the enable; then an INIT.
    &[
        Create(0),
        Create(1),
        Write(0, Svr, 0x1FF),
        Write(0, Ldr, 0x1100_0000),
        Write(0, Dfr, 0x0FFF_FFFF),
        Write(1, Dfr, 0x0FFF_FFFF),
        Write(1, Ldr, 0x1200_0000),
        Write(1, Svr, 0x1FF),
        Init(0),
    ],
];
