//! The reader against real BTF, and against bytes that no compiler wrote.

use super::fixture::{KERNELS, Vandal, kernel, synthetic};
use super::*;

const INT: u32 = kind::INT << 24;
const VOLATILE: u32 = kind::VOLATILE << 24;

/// Asks everything that a layout asks, for structures that exist and one that does not.
fn ask(btf: &Btf<'_>) {
    for name in [
        "kvm",
        "kvm_vcpu",
        "kvm_lapic",
        "kvm_apic_map",
        "task_struct",
        "nothing",
    ] {
        for id in btf.structs(name) {
            for path in [
                "arch.apic_map",
                "regs",
                "xapic_flat_map",
                "comm",
                "vcpu_array.xa_head.none",
            ] {
                let _ = btf.member(id, path).map(|member| btf.size(member.type_id));
            }
        }
    }
    let _ = btf.enumerators("kvm_apicv_inhibit");
}

fn only_struct(btf: &Btf<'_>, name: &str) -> TypeId {
    let found = btf.structs(name);
    assert_eq!(found.len(), 1, "{name}");
    found[0]
}

#[test]
fn split_types_reach_into_the_base() {
    let btf = kernel("6.1").btf();
    let lapic = only_struct(&btf, "kvm_lapic");
    // `bool` is a typedef of the base, the structure is the module's.
    let sw_enabled = btf.member(lapic, "sw_enabled").unwrap();
    assert_eq!((sw_enabled.offset, btf.size(sw_enabled.type_id)), (153, Some(1)));
    assert_eq!(btf.size(lapic), Some(240));
}

#[test]
fn base_without_split_lacks_what_the_module_adds() {
    for kernel in KERNELS.into_iter().filter(|kernel| kernel.kvm.is_some()) {
        let btf = Btf::parse(kernel.vmlinux, None).unwrap();
        assert_eq!(btf.structs("kvm").len(), 1, "{}", kernel.series);
        assert!(btf.structs("kvm_lapic").is_empty(), "{}", kernel.series);
        let map_is_private = kernel.series == "7.3";
        assert_eq!(
            btf.structs("kvm_apic_map").is_empty(),
            map_is_private,
            "{}",
            kernel.series
        );
    }
}

#[test]
fn only_a_base_stands_alone() {
    for kernel in KERNELS {
        assert_eq!(Btf::stands_alone(kernel.vmlinux), Ok(true), "{}", kernel.series);
        if let Some(kvm) = kernel.kvm {
            assert_eq!(Btf::stands_alone(kvm), Ok(false), "{}", kernel.series);
        }
    }
    assert_eq!(Btf::stands_alone(b"not BTF"), Err(BtfError::Header));
}

#[test]
fn structures_that_the_module_repeats_are_all_found() {
    let counts = KERNELS.map(|kernel| kernel.btf().structs("kvm").len());
    assert_eq!(counts, [1, 1, 1, 3, 4]);
}

#[test]
fn bit_fields_lie_at_the_byte_that_holds_them() {
    // Bits 17313, 18721, 18849, 21025 and 22369, by bpftool.
    for (kernel, offset) in KERNELS.into_iter().zip([2164, 2340, 2356, 2628, 2796]) {
        let btf = kernel.btf();
        for id in btf.structs("task_struct") {
            let found = btf.member(id, "sched_contributes_to_load").unwrap();
            assert_eq!(found.offset, offset, "{}", kernel.series);
        }
    }
}

#[test]
fn sizes_see_through_arrays_and_qualifiers() {
    let btf = kernel("6.12").btf();
    let node = only_struct(&btf, "xa_node");
    let slots = btf.member(node, "slots").unwrap();
    assert_eq!((slots.offset, btf.size(slots.type_id)), (40, Some(64 * 8)));
    assert_eq!(btf.size(TypeId(0)), None, "void");
    assert_eq!(btf.size(TypeId(u32::MAX)), None, "no such type");
}

#[test]
fn anonymous_unions_are_looked_through() {
    let btf = kernel("7.3").btf();
    for map in btf.structs("kvm_apic_map") {
        assert_eq!(btf.member(map, "xapic_flat_map").unwrap().offset, 24);
        assert_eq!(btf.member(map, "xapic_cluster_map").unwrap().offset, 24);
        assert_eq!(btf.member(map, "xapic_flat_map.none"), None);
        assert_eq!(btf.member(map, "none"), None);
    }
}

#[test]
fn enumerators_of_both_widths_are_read() {
    let strings = ["narrow", "ONE", "wide", "BIG"];
    let (narrow, one, wide, big) = (1, 8, 12, 17);
    let bytes = synthetic(
        &[
            &[narrow, kind::ENUM << 24 | 1, 4, one, 1],
            &[wide, kind::ENUM64 << 24 | 1, 8, big, 5, 2],
        ],
        &strings,
    );
    let btf = Btf::parse(&bytes, None).unwrap();
    assert_eq!(btf.enumerators("narrow"), [("ONE".to_owned(), 1)]);
    assert_eq!(btf.enumerators("wide"), [("BIG".to_owned(), 2 << 32 | 5)]);
    assert_eq!(btf.enumerators("none"), []);
}

#[test]
fn wide_counts_and_kinds_are_not_cut_off() {
    let unknown = synthetic(&[&[0, 0x21 << 24, 0, 0]], &[]);
    let refused = Btf::parse(&unknown, None).unwrap_err();
    assert_eq!(refused, BtfError::Kind { id: 1, kind: 0x21 });

    // Cut to 16 bits, the count would be 0 and the members would be taken for types.
    let values = vec![0; 2 << 16];
    let bytes = synthetic(&[&[1, kind::ENUM << 24 | 1 << 16, 4], &values], &["large"]);
    let btf = Btf::parse(&bytes, None).unwrap();
    assert_eq!(btf.enumerators("large").len(), 1 << 16);
}

#[test]
fn members_without_end_are_given_up() {
    // A structure of nothing but anonymous members of its own type.
    let mut members = vec![1, kind::STRUCT << 24 | 200, 8];
    members.extend([0, 1, 0].repeat(200));
    let bytes = synthetic(&[&members], &["endless"]);
    let btf = Btf::parse(&bytes, None).unwrap();
    assert_eq!(btf.member(only_struct(&btf, "endless"), "none"), None);
}

#[test]
fn qualifiers_in_a_circle_are_given_up() {
    let holder = [1, kind::STRUCT << 24 | 1, 8, 6, 2, 0];
    let bytes = synthetic(&[&holder, &[0, VOLATILE, 3], &[0, VOLATILE, 2]], &["ring", "at"]);
    let btf = Btf::parse(&bytes, None).unwrap();
    let ring = only_struct(&btf, "ring");
    assert_eq!(btf.size(btf.member(ring, "at").unwrap().type_id), None);
    assert_eq!(btf.member(ring, "at.none"), None);
}

#[test]
fn arrays_larger_than_memory_have_no_size() {
    let array = |element: u32| [0, kind::ARRAY << 24, 0, element, 1, u32::MAX];
    let bytes = synthetic(&[&[0, INT, 4, 32], &array(1), &array(3)], &[]);
    let btf = Btf::parse(&bytes, None).unwrap();
    assert_eq!(btf.size(TypeId(2)), None, "4 bytes, 2^32-1 times");
    assert_eq!(btf.size(TypeId(3)), None, "an array of itself");
}

#[test]
fn offsets_beyond_32_bits_are_no_offsets() {
    // 2^29-1 bytes at most for each step: nine of them are too far.
    let step = [1, kind::STRUCT << 24 | 1, 8, 6, 1, u32::MAX];
    let bytes = synthetic(&[&step], &["step", "x"]);
    let btf = Btf::parse(&bytes, None).unwrap();
    let step = only_struct(&btf, "step");
    assert_eq!(btf.member(step, "x.x").unwrap().offset, 2 * (u32::MAX / 8));
    assert_eq!(btf.member(step, "x.x.x.x.x.x.x.x.x"), None);
}

#[test]
fn bytes_that_are_no_btf_are_refused_by_their_header() {
    let big_endian = b"\xEB\x9F\x01\0\0\0\0\x18\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let version_2 = b"\x9F\xEB\x02\0\x18\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let cases: [&[u8]; 5] = [&[], &[0; 64], b"\x7fELF\x02\x01\x01", big_endian, version_2];
    for bytes in cases {
        assert!(
            matches!(Btf::parse(bytes, None), Err(BtfError::Header)),
            "{bytes:?}"
        );
    }
}

#[test]
fn btf_cut_short_anywhere_is_refused() {
    for kernel in KERNELS {
        for blob in [Some(kernel.vmlinux), kernel.kvm].into_iter().flatten() {
            let cuts = (0..100)
                .chain((100..blob.len()).step_by(97))
                .chain([blob.len() - 1]);
            for cut in cuts.filter(|&cut| cut < blob.len()) {
                assert!(
                    Btf::parse(&blob[..cut], None).is_err(),
                    "{} at {cut}",
                    kernel.series
                );
                assert!(
                    Btf::parse(kernel.vmlinux, Some(&blob[..cut])).is_err(),
                    "{} at {cut}",
                    kernel.series
                );
            }
        }
    }
}

#[test]
fn type_section_cut_inside_a_type_is_refused() {
    let bytes = synthetic(&[&[0, INT, 4, 32], &[0, kind::STRUCT << 24 | 2, 8, 0, 1, 0]], &[]);
    assert_eq!(Btf::parse(&bytes, None).unwrap_err(), BtfError::Truncated(16));
}

#[test]
fn any_flipped_bit_of_the_header_is_survived() {
    const HEADER_BITS: usize = 24 * 8;
    for kernel in KERNELS {
        for bit in 0..HEADER_BITS {
            let mut blobs = kernel.to_blobs();
            blobs.base[bit / 8] ^= 1 << (bit % 8);
            let _ = blobs.parse().map(|btf| ask(&btf));

            let mut blobs = kernel.to_blobs();
            let Some(split) = &mut blobs.split else {
                continue;
            };
            split[bit / 8] ^= 1 << (bit % 8);
            let _ = blobs.parse().map(|btf| ask(&btf));
        }
    }
}

#[test]
fn flipped_bytes_are_survived() {
    let mut vandal = Vandal::new(0x1D5C_09E5);
    for kernel in KERNELS {
        for _ in 0..150 {
            let mut blobs = kernel.to_blobs();
            vandal.damage(&mut blobs.base);
            if let Some(split) = &mut blobs.split {
                vandal.damage(split);
            }
            let _ = blobs.parse().map(|btf| ask(&btf));
        }
    }
}

#[test]
fn split_on_another_kernels_base_is_survived() {
    for base in KERNELS {
        for split in KERNELS {
            let _ = Btf::parse(base.vmlinux, split.kvm).map(|btf| ask(&btf));
            // A split part that is taken for a base, and the other way round.
            let _ = Btf::parse(split.kvm.unwrap_or_default(), Some(base.vmlinux)).map(|btf| ask(&btf));
        }
    }
}
