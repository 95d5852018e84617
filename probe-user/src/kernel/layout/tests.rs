//! Resolution against real BTF, and against real BTF with one thing changed.

use super::super::btf::fixture::{Blobs, KERNELS, Kernel, VMLINUX_5_10, Vandal, kernel};
use super::*;

/// The kernels that keep their vCPUs in an xarray, and whose module has BTF: all but 5.10.
const WITH_XARRAY: [&str; 4] = ["6.1", "6.12", "6.18", "7.3"];

/// Whether ldrscope can do without a member.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Must,
    May,
}
use Need::{May, Must};

/// One member: the structure it is asked of, its path, the structure that holds its last step ("" where that has no
/// name), whether it must be there, where it is kept, and its offset on 5.10, 6.1, 6.12, 6.18 and 7.3.
struct Row(
    &'static str,
    &'static str,
    &'static str,
    Need,
    fn(&Layout) -> u32,
    [u32; 5],
);

/// The kernel reference's table of fields, where it has the member; the others were read from the whole BTF of these
/// kernels by bpftool. `arch.apic` and `arch.apic_base` of 5.10 moved by 16 between 5.10.223, which the reference
/// describes, and the fixture's 5.10.262.
#[rustfmt::skip]
const ROWS: [Row; 39] = [
    Row("kvm", "vm_list", "kvm", Must, |l| l.kvm_vm_list, [2384, 4472, 4472, 4472, 4456]),
    Row("kvm", "online_vcpus", "kvm", Must, |l| l.kvm_online_vcpus, [2368, 4456, 4456, 4456, 4440]),
    Row("kvm", "userspace_pid", "kvm", Must, |l| l.kvm_userspace_pid, [187_576, 40_408, 6976, 6984, 6936]),
    Row("kvm", "mm", "kvm", May, |l| l.kvm_mm, [40, 72, 72, 72, 56]),
    Row("kvm", "debugfs_dentry", "kvm", May, |l| l.kvm_debugfs_dentry, [86_888, 39_608, 6912, 6920, 6856]),
    Row("kvm", "arch.apic_map", "kvm_arch", Must, |l| l.kvm_apic_map, [85_968, 38_152, 4992, 5008, 5032]),
    Row("kvm", "arch.apic_map_dirty", "kvm_arch", Must, |l| l.kvm_apic_map_dirty, [85_976, 38_160, 5000, 5016, 5040]),
    Row("kvm", "arch.apicv_inhibit_reasons", "kvm_arch", May, |l| l.kvm_apicv_inhibits, [85_984, 38_216, 5048, 5064, 5120]),
    Row("kvm", "arch.irqchip_mode", "kvm_arch", Must, |l| l.kvm_irqchip_mode, [86_616, 39_148, 6416, 6416, 6304]),
    Row("kvm", "arch.x2apic_format", "kvm_arch", Must, |l| l.kvm_x2apic_format, [86_622, 39_154, 6422, 6422, 6310]),
    Row("kvm", "arch.x2apic_broadcast_quirk_disabled", "kvm_arch", Must, |l| l.kvm_broadcast_quirk, [86_623, 39_155, 6423, 6423, 6311]),
    Row("kvm", "arch.vioapic", "kvm_arch", May, |l| l.kvm_vioapic, [85_912, 38_096, 4936, 4952, 4984]),
    Row("kvm_ioapic", "redirtbl", "kvm_ioapic", May, |l| l.ioapic_redirtbl, [24, 24, 24, 24, 24]),
    Row("mm_struct", "owner", "", May, |l| l.mm_owner, [912, 928, 1152, 1264, 1528]),
    Row("task_struct", "tgid", "task_struct", May, |l| l.task_tgid, [2236, 2420, 2436, 2708, 2876]),
    Row("dentry", "d_name.name", "qstr", May, |l| l.dentry_name, [40, 40, 40, 40, 40]),
    Row("kvm_vcpu", "kvm", "kvm_vcpu", Must, |l| l.vcpu_kvm, [0, 0, 0, 0, 0]),
    Row("kvm_vcpu", "vcpu_id", "kvm_vcpu", Must, |l| l.vcpu_id, [36, 36, 36, 36, 36]),
    Row("kvm_vcpu", "vcpu_idx", "kvm_vcpu", Must, |l| l.vcpu_idx, [40, 40, 40, 40, 40]),
    Row("kvm_vcpu", "arch.apic", "kvm_vcpu_arch", Must, |l| l.vcpu_apic, [800, 544, 544, 536, 552]),
    Row("kvm_vcpu", "arch.apic_base", "kvm_vcpu_arch", Must, |l| l.vcpu_apic_base, [792, 536, 536, 528, 544]),
    Row("kvm_vcpu", "arch.apicv_active", "kvm_vcpu_arch", May, |l| l.vcpu_apicv_active, [808, ABSENT, ABSENT, ABSENT, ABSENT]),
    Row("kvm_lapic", "vcpu", "kvm_lapic", Must, |l| l.lapic_vcpu, [152, 144, 144, 144, 160]),
    Row("kvm_lapic", "sw_enabled", "kvm_lapic", Must, |l| l.lapic_sw_enabled, [160, 153, 153, 153, 169]),
    Row("kvm_lapic", "regs", "kvm_lapic", Must, |l| l.lapic_regs, [176, 168, 168, 168, 184]),
    Row("kvm_lapic", "apicv_active", "kvm_lapic", May, |l| l.lapic_apicv_active, [ABSENT, 152, 152, 152, 168]),
    Row("kvm_apic_map", "max_apic_id", "kvm_apic_map", Must, |l| l.map_max_apic_id, [20, 20, 20, 20, 20]),
    Row("kvm_apic_map", "xapic_flat_map", "", Must, |l| l.map_slots, [24, 24, 24, 24, 24]),
    Row("kvm_apic_map", "phys_map", "kvm_apic_map", Must, |l| l.map_physical, [536, 536, 536, 536, 536]),
    Row("xa_node", "slots", "xa_node", Must, |l| l.xa_node_slots, [ABSENT, 40, 40, 40, 40]),
    Row("kvm", "irq_routing", "kvm", May, |l| l.kvm_irq_routing, [86_768, 39_480, 6784, 6792, 6720]),
    Row("kvm_irq_routing_table", "nr_rt_entries", "kvm_irq_routing_table", May, |l| l.routing_gsis, [288, 288, 288, 288, 288]),
    Row("kvm_irq_routing_table", "map", "kvm_irq_routing_table", May, |l| l.routing_map, [296, 296, 296, 296, 296]),
    Row("kvm_kernel_irq_routing_entry", "link", "kvm_kernel_irq_routing_entry", May, |l| l.route_link, [48, 48, 48, 48, 64]),
    Row("kvm_kernel_irq_routing_entry", "gsi", "kvm_kernel_irq_routing_entry", May, |l| l.route_gsi, [0, 0, 0, 0, 0]),
    Row("kvm_kernel_irq_routing_entry", "type", "kvm_kernel_irq_routing_entry", May, |l| l.route_type, [4, 4, 4, 4, 4]),
    Row("kvm_kernel_irq_routing_entry", "msi.address_lo", "", May, |l| l.route_address_lo, [16, 16, 16, 16, 16]),
    Row("kvm_kernel_irq_routing_entry", "msi.address_hi", "", May, |l| l.route_address_hi, [20, 20, 20, 20, 20]),
    Row("kvm_kernel_irq_routing_entry", "msi.data", "", May, |l| l.route_data, [24, 24, 24, 24, 24]),
];

fn resolve_blobs(blobs: &Blobs) -> Result<Resolved, LayoutError> {
    resolve(&blobs.parse().unwrap(), None)
}

fn resolve_kernel(kernel: Kernel) -> Resolved {
    resolve(&kernel.btf(), None).unwrap()
}

/// The rows that this kernel has a member for, with its offset.
fn rows_of(column: usize) -> impl Iterator<Item = (Row, u32)> {
    ROWS.into_iter()
        .map(move |row| (row.5[column], row))
        .filter(|(offset, _)| *offset != ABSENT)
        .map(|(offset, row)| (row, offset))
}

/// The kernel's BTF without a member, whatever number of structures of that name have it.
fn without(kernel: Kernel, holder: &str, member: &str) -> Blobs {
    let mut blobs = kernel.to_blobs();
    for record in blobs.records(holder, member) {
        blobs.rename(record);
    }
    blobs
}

fn last_step(path: &str) -> &str {
    path.rsplit('.').next().unwrap()
}

#[test]
fn every_member_lies_where_the_reference_says() {
    for (column, kernel) in KERNELS.into_iter().enumerate() {
        let btf = kernel.btf();
        for (Row(of, path, ..), offset) in rows_of(column) {
            let candidates = btf.structs(of);
            assert!(!candidates.is_empty(), "{of} on {}", kernel.series);
            for candidate in candidates {
                let found = btf.member(candidate, path).map(|member| member.offset);
                assert_eq!(found, Some(offset), "{of}.{path} on {}", kernel.series);
            }
        }
    }
}

#[test]
fn layout_holds_every_offset_of_the_reference() {
    for (column, kernel) in KERNELS.into_iter().enumerate() {
        let layout = resolve_kernel(kernel).layout;
        for Row(of, path, _, _, field, offsets) in ROWS {
            assert_eq!(
                field(&layout),
                offsets[column],
                "{of}.{path} on {}",
                kernel.series
            );
        }
    }
}

#[test]
fn vcpus_are_in_an_xarray_since_5_17() {
    // The xarray is at 4392, on 7.3 at 4376; its head 8 bytes further.
    for (series, head) in WITH_XARRAY.into_iter().zip([4400, 4400, 4400, 4384]) {
        let layout = resolve_kernel(kernel(series)).layout;
        assert_eq!((layout.vcpus_are_xarray, layout.kvm_vcpus), (1, head), "{series}");
        assert_eq!((layout.xa_node_shift, layout.xa_node_slots), (0, 40), "{series}");
    }
    let layout = resolve_kernel(kernel("5.10")).layout;
    assert_eq!((layout.vcpus_are_xarray, layout.kvm_vcpus), (0, 64));
}

#[test]
fn guest_rip_follows_the_general_registers_by_either_name() {
    for (kernel, rip) in KERNELS.into_iter().zip([688, 424, 424, 416, 424]) {
        assert_eq!(resolve_kernel(kernel).layout.vcpu_rip, rip, "{}", kernel.series);
    }
    let newest = without(kernel("7.3"), "kvm_vcpu_arch", "rip");
    assert_eq!(resolve_blobs(&newest).unwrap().layout.vcpu_rip, ABSENT);
}

#[test]
fn map_mode_tells_the_generations_apart() {
    let expected = [
        ("5.10", MapModeKind::Bits, 1),
        ("6.1", MapModeKind::Bits, 1),
        ("6.12", MapModeKind::Enum, 4),
        ("6.18", MapModeKind::Enum, 4),
        ("7.3", MapModeKind::Enum, 4),
    ];
    for (series, kind, bytes) in expected {
        let Resolved { layout, encoding, .. } = resolve_kernel(kernel(series));
        assert_eq!(
            (encoding.map_mode, layout.map_mode, layout.map_mode_bytes),
            (kind, 16, bytes),
            "{series}"
        );
    }
}

#[test]
fn kernel_without_module_btf_is_refused_for_want_of_kvm_lapic() {
    let with_module = KERNELS.into_iter().skip(1).map(|kernel| kernel.vmlinux);
    for base_alone in with_module.chain([VMLINUX_5_10]) {
        let refused = resolve(&Btf::parse(base_alone, None).unwrap(), None).unwrap_err();
        assert_eq!(refused, LayoutError::NoStruct("kvm_lapic"));
        assert_eq!(refused.path(), "kvm_lapic");
    }
}

#[test]
fn known_build_is_laid_out_as_its_debug_data_say() {
    let known = known::find("5.10.0-46-amd64");
    assert!(known.is_some());
    let by_table = resolve(&Btf::parse(VMLINUX_5_10, None).unwrap(), known).unwrap();
    assert_eq!(by_table.known_build, known);
    let mut by_types = resolve_kernel(kernel("5.10"));
    // The fixture has no `kvm_lapic_irq`: the table's was read off the disassembly, and an interrupt to the canary proves it.
    assert!(by_table.tells_interrupts() && !by_types.tells_interrupts());
    by_types.layout = Layout {
        irq_vector: by_table.layout.irq_vector,
        irq_delivery_mode: by_table.layout.irq_delivery_mode,
        irq_dest_mode: by_table.layout.irq_dest_mode,
        irq_level: by_table.layout.irq_level,
        irq_trig_mode: by_table.layout.irq_trig_mode,
        irq_shorthand: by_table.layout.irq_shorthand,
        irq_dest_id: by_table.layout.irq_dest_id,
        irq_redirection_hint: by_table.layout.irq_redirection_hint,
        ..by_types.layout
    };
    assert_eq!(
        by_table,
        Resolved {
            known_build: known,
            ..by_types
        }
    );
}

#[test]
fn types_that_are_there_go_before_the_table() {
    let known = known::find("5.10.0-46-amd64");
    for kernel in KERNELS {
        let resolved = resolve(&kernel.btf(), known).unwrap();
        assert_eq!(resolved, resolve_kernel(kernel), "{}", kernel.series);
    }
    let incomplete = without(kernel("5.10"), "kvm_lapic", "regs");
    let refused = resolve(&incomplete.parse().unwrap(), known).unwrap_err();
    assert_eq!(refused.path(), "kvm_lapic.regs");
}

#[test]
fn missing_member_is_refused_by_its_name() {
    for (column, kernel) in KERNELS.into_iter().enumerate() {
        for (Row(of, path, holder, need, ..), _) in rows_of(column) {
            if need == Must {
                let refused = resolve_blobs(&without(kernel, holder, last_step(path))).unwrap_err();
                assert_eq!(
                    refused,
                    LayoutError::NoMember { of, member: path },
                    "{}",
                    kernel.series
                );
                assert_eq!(refused.path(), format!("{of}.{path}"));
            }
        }
    }
}

#[test]
fn missing_member_of_a_pair_is_refused_by_the_older_name() {
    for series in WITH_XARRAY {
        let mode = if series == "6.1" { "mode" } else { "logical_mode" };
        let pairs = [
            ("kvm", "vcpu_array", "kvm.vcpus"),
            ("xarray", "xa_head", "kvm.vcpus"),
            ("kvm_apic_map", mode, "kvm_apic_map.mode"),
            ("xa_node", "shift", "xa_node.shift"),
        ];
        for (holder, member, path) in pairs {
            let refused = resolve_blobs(&without(kernel(series), holder, member)).unwrap_err();
            assert_eq!(refused.path(), path, "{series}");
        }
    }
}

#[test]
fn missing_optional_member_is_absent_and_nothing_else_changes() {
    for (column, kernel) in KERNELS.into_iter().enumerate() {
        for (Row(_, path, holder, need, missing, _), _) in rows_of(column) {
            if need == May {
                let layout = resolve_blobs(&without(kernel, holder, last_step(path)))
                    .unwrap()
                    .layout;
                assert_eq!(missing(&layout), ABSENT, "{path} on {}", kernel.series);
                let absent = ROWS.iter().filter(|row| row.4(&layout) != row.5[column]).count();
                assert_eq!(absent, 1, "{path} on {}", kernel.series);
            }
        }
    }
}

#[test]
fn routes_are_told_by_all_their_members_or_not_at_all() {
    for kernel in KERNELS {
        assert!(resolve_kernel(kernel).tells_routes(), "{}", kernel.series);
        let without_one = without(kernel, "kvm_kernel_irq_routing_entry", "link");
        assert!(
            !resolve_blobs(&without_one).unwrap().tells_routes(),
            "{}",
            kernel.series
        );
    }
}

#[test]
fn structures_that_disagree_are_refused() {
    let disagreements = [
        ("kvm", "userspace_pid", "kvm.userspace_pid"),
        ("kvm_arch", "apic_map", "kvm.arch.apic_map"),
        ("kvm_vcpu", "vcpu_idx", "kvm_vcpu.vcpu_idx"),
        ("kvm_vcpu_arch", "apic", "kvm_vcpu.arch.apic"),
    ];
    for series in ["6.18", "7.3"] {
        for (holder, member, path) in disagreements {
            let intact = kernel(series).to_blobs();
            let records = intact.records(holder, member);
            assert!(records.len() > 1, "{holder} on {series}");
            for record in records {
                let [mut shifted, mut renamed] = [intact.clone(), intact.clone()];
                shifted.shift(record);
                renamed.rename(record);
                for damaged in [shifted, renamed] {
                    let refused = resolve_blobs(&damaged).unwrap_err();
                    assert!(matches!(refused, LayoutError::Ambiguous { .. }), "{refused}");
                    assert_eq!(refused.path(), path, "{series}");
                }
            }
        }
    }
}

#[test]
fn structures_that_all_moved_are_followed() {
    let mut blobs = kernel("7.3").to_blobs();
    for record in blobs.records("kvm_arch", "apic_map") {
        blobs.shift(record);
    }
    assert_eq!(resolve_blobs(&blobs).unwrap().layout.kvm_apic_map, 5032 + 8);
}

#[test]
fn member_of_another_width_is_refused() {
    let mut blobs = kernel("6.12").to_blobs();
    for record in blobs.records("kvm_arch", "irqchip_mode") {
        blobs.make_pointer(record);
    }
    let refused = resolve_blobs(&blobs).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "`arch.irqchip_mode` of `struct kvm` is 8 bytes wide"
    );
}

#[test]
fn flipped_bytes_never_break_the_resolution() {
    let mut vandal = Vandal::new(0x2019_0813);
    for kernel in KERNELS {
        for _ in 0..150 {
            let mut blobs = kernel.to_blobs();
            vandal.damage(&mut blobs.base);
            if let Some(split) = &mut blobs.split {
                vandal.damage(split);
            }
            let _ = blobs.parse().map(|btf| resolve(&btf, None));
        }
    }
}
