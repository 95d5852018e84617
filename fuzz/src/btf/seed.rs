//! A kernel in a kilobyte: BTF of just the structures that a layout needs, so that a changed byte seldom misses.
//!
//! Real kernels' BTF is a seed too, but of its forty kilobytes few decide anything.

/// A member's type: what a layout tells apart.
#[derive(Clone, Copy)]
enum Of {
    /// An integer of this many bytes: 1, 2, 4, 8 or 16.
    Int(u32),
    Pointer,
    /// So many pointers.
    Pointers(u32),
    /// The structure of that place in [`STRUCTURES`].
    Structure(u32),
}

use Of::{Int, Pointer, Pointers, Structure};

/// Name and members; whoever is contained comes first.
type Described = (&'static str, &'static [(&'static str, Of)]);

const STRUCTURES: [Described; 9] = [
    (
        "xarray",
        &[("xa_lock", Int(4)), ("xa_flags", Int(4)), ("xa_head", Pointer)],
    ),
    (
        "xa_node",
        &[("shift", Int(1)), ("count", Int(1)), ("slots", Pointers(64))],
    ),
    (
        "kvm_arch",
        &[
            ("apic_map", Pointer),
            ("apic_map_dirty", Int(4)),
            ("irqchip_mode", Int(4)),
            ("x2apic_format", Int(1)),
            ("x2apic_broadcast_quirk_disabled", Int(1)),
            ("apicv_inhibit_reasons", Int(8)),
            ("vioapic", Pointer),
        ],
    ),
    (
        "kvm",
        &[
            ("vm_list", Int(16)),
            ("online_vcpus", Int(4)),
            ("userspace_pid", Int(4)),
            ("mm", Pointer),
            ("vcpu_array", Structure(0)),
            ("arch", Structure(2)),
        ],
    ),
    (
        "kvm_vcpu_arch",
        &[("regs", Pointers(17)), ("apic", Pointer), ("apic_base", Int(8))],
    ),
    (
        "kvm_vcpu",
        &[
            ("kvm", Pointer),
            ("vcpu_id", Int(4)),
            ("vcpu_idx", Int(4)),
            ("arch", Structure(4)),
        ],
    ),
    (
        "kvm_lapic",
        &[("vcpu", Pointer), ("sw_enabled", Int(1)), ("regs", Pointer)],
    ),
    // A union without a name, as the kernel has it.
    (
        "",
        &[
            ("xapic_flat_map", Pointers(8)),
            ("xapic_cluster_map", Pointers(64)),
        ],
    ),
    (
        "kvm_apic_map",
        &[
            ("logical_mode", Int(4)),
            ("max_apic_id", Int(4)),
            ("", Structure(7)),
            ("phys_map", Pointers(0)),
        ],
    ),
];

/// Types ahead of the structures: five integers, a pointer, and an array for every count of pointers.
const INTS: [u32; 5] = [1, 2, 4, 8, 16];
const COUNTS: [u32; 4] = [64, 17, 8, 0];
const POINTER_ID: u32 = INTS.len() as u32 + 1;
const FIRST_STRUCTURE_ID: u32 = POINTER_ID + COUNTS.len() as u32 + 1;

/// Kinds (`BTF_KIND_*`, include/uapi/linux/btf.h).
const INT: u32 = 1 << 24;
const POINTER: u32 = 2 << 24;
const ARRAY: u32 = 3 << 24;
const STRUCT: u32 = 4 << 24;
const UNION: u32 = 5 << 24;
const ENUM: u32 = 6 << 24;

impl Of {
    fn id(self) -> u32 {
        let place = |list: &[u32], wanted| {
            let place = list.iter().position(|&one| one == wanted);
            place.expect("the tables list every integer and count in use") as u32
        };
        match self {
            Int(bytes) => 1 + place(&INTS, bytes),
            Pointer => POINTER_ID,
            Pointers(count) => POINTER_ID + 1 + place(&COUNTS, count),
            Structure(place) => FIRST_STRUCTURE_ID + place,
        }
    }

    fn bytes(self) -> u32 {
        match self {
            Int(bytes) => bytes,
            Pointer => 8,
            Pointers(count) => 8 * count,
            Structure(place) => STRUCTURES[place as usize]
                .1
                .iter()
                .map(|(_, of)| of.bytes())
                .sum(),
        }
    }
}

/// The seed.
pub(super) fn small_kernel() -> Vec<u8> {
    let mut strings = vec![0];
    let mut name = |text: &str| {
        if text.is_empty() {
            return 0;
        }
        let offset = strings.len() as u32;
        strings.extend_from_slice(text.as_bytes());
        strings.push(0);
        offset
    };
    let mut words = Vec::new();
    for bytes in INTS {
        words.extend([0, INT, bytes, bytes * 8]);
    }
    words.extend([0, POINTER, 0]);
    for count in COUNTS {
        words.extend([0, ARRAY, 0, POINTER_ID, Int(4).id(), count]);
    }
    for (place, (structure, members)) in (0..).zip(STRUCTURES) {
        let kind = if structure.is_empty() { UNION } else { STRUCT };
        words.extend([
            name(structure),
            kind | members.len() as u32,
            Structure(place).bytes(),
        ]);
        let mut offset = 0;
        for &(member, of) in members {
            words.extend([name(member), of.id(), offset * 8]);
            offset += if kind == UNION { 0 } else { of.bytes() };
        }
    }
    words.extend([
        name("kvm_apicv_inhibit"),
        ENUM | 1,
        4,
        name("APICV_INHIBIT_REASON_DISABLED"),
        0,
    ]);
    let types = words.len() as u32 * 4;
    let header = [0x0001_EB9F, 24, 0, types, types, strings.len() as u32];
    let words = header.into_iter().chain(words).flat_map(u32::to_le_bytes);
    words.chain(strings).collect()
}

#[cfg(test)]
mod tests {
    use ldrscope::kernel::{btf::Btf, layout};

    use super::*;

    #[test]
    fn the_small_kernel_has_a_layout() {
        let bytes = small_kernel();
        let resolved = layout::resolve(&Btf::parse(&bytes, None).unwrap(), None).unwrap();
        assert_eq!(resolved.layout.map_slots, 8);
        let reasons = resolved.encoding.inhibits.decode(1);
        assert!(reasons.iter().all(|reason| reason.name() == "disabled"));
    }
}
