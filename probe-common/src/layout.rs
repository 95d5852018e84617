//! Where the running kernel keeps what the programs read: member offsets and symbol addresses, resolved
//! by userspace at start and handed to the programs as one constant before they are verified.

use crate::{assert_size, record};

/// An offset or address the running kernel does not have. Only optional fields may hold it.
pub const ABSENT: u32 = u32::MAX;

record! {
/// Offsets in bytes from the start of the named structure, unless said otherwise.
pub struct Layout {
    /// Address of `vm_list`, the head of KVM's list of VMs.
    pub vm_list_head: u64,
    /// Address of the per-CPU variable `kvm_running_vcpu`, relative to a CPU's base; 0 if not known.
    pub running_vcpu: u64,
    /// Address of `__per_cpu_offset[]`: the CPUs' bases; 0 if not known.
    pub per_cpu_offset: u64,
    /// `kvm.vm_list` (struct list_head).
    pub kvm_vm_list: u32,
    /// `kvm.online_vcpus` (atomic_t, 4 bytes).
    pub kvm_online_vcpus: u32,
    /// `kvm.vcpu_array.xa_head` (5.17 on) or `kvm.vcpus[0]`, as `vcpus_are_xarray` says.
    pub kvm_vcpus: u32,
    /// 1 where the vCPU table is an xarray.
    pub vcpus_are_xarray: u32,
    /// `xa_node.shift` (1 byte).
    pub xa_node_shift: u32,
    /// `xa_node.slots`.
    pub xa_node_slots: u32,
    /// `kvm.userspace_pid` (4 bytes): thread that created the VM.
    pub kvm_userspace_pid: u32,
    /// `kvm.mm`, optional.
    pub kvm_mm: u32,
    /// `mm_struct.owner`, optional.
    pub mm_owner: u32,
    /// `task_struct.tgid`, optional.
    pub task_tgid: u32,
    /// `kvm.debugfs_dentry`, optional.
    pub kvm_debugfs_dentry: u32,
    /// `dentry.d_name.name`, optional.
    pub dentry_name: u32,
    /// `kvm.arch.apic_map`.
    pub kvm_apic_map: u32,
    /// `kvm.arch.apic_map_dirty` (4 bytes).
    pub kvm_apic_map_dirty: u32,
    /// `kvm.arch.apicv_inhibit_reasons` (8 bytes), optional.
    pub kvm_apicv_inhibits: u32,
    /// `kvm.arch.irqchip_mode` (4 bytes).
    pub kvm_irqchip_mode: u32,
    /// `kvm.arch.x2apic_format` (1 byte).
    pub kvm_x2apic_format: u32,
    /// `kvm.arch.x2apic_broadcast_quirk_disabled` (1 byte).
    pub kvm_broadcast_quirk: u32,
    /// `kvm.arch.vioapic`, optional.
    pub kvm_vioapic: u32,
    /// `kvm_ioapic.redirtbl` (24 entries of 8 bytes), optional.
    pub ioapic_redirtbl: u32,
    /// `kvm_vcpu.kvm`.
    pub vcpu_kvm: u32,
    /// `kvm_vcpu.vcpu_id` (4 bytes).
    pub vcpu_id: u32,
    /// `kvm_vcpu.vcpu_idx` (4 bytes).
    pub vcpu_idx: u32,
    /// `kvm_vcpu.arch.apic`.
    pub vcpu_apic: u32,
    /// `kvm_vcpu.arch.apic_base` (8 bytes).
    pub vcpu_apic_base: u32,
    /// `kvm_vcpu.arch.apicv_active` (1 byte, to 5.19), optional.
    pub vcpu_apicv_active: u32,
    /// `kvm_vcpu.arch.rip` (7.x), or `kvm_vcpu.arch.regs[VCPU_REGS_RIP]` before (8 bytes), optional.
    pub vcpu_rip: u32,
    /// `kvm_lapic.vcpu`.
    pub lapic_vcpu: u32,
    /// `kvm_lapic.sw_enabled` (1 byte).
    pub lapic_sw_enabled: u32,
    /// `kvm_lapic.regs`.
    pub lapic_regs: u32,
    /// `kvm_lapic.apicv_active` (1 byte, from 6.0 on), optional.
    pub lapic_apicv_active: u32,
    /// `kvm_apic_map.mode` (1 byte) or `.logical_mode` (4 bytes), as `map_mode_bytes` says.
    pub map_mode: u32,
    /// Width of the mode in bytes: 1 or 4.
    pub map_mode_bytes: u32,
    /// `kvm_apic_map.max_apic_id` (4 bytes).
    pub map_max_apic_id: u32,
    /// `kvm_apic_map.xapic_flat_map`, which `xapic_cluster_map` shares: 64 pointers.
    pub map_slots: u32,
    /// `kvm_apic_map.phys_map`.
    pub map_physical: u32,
    /// `kvm.irq_routing`, optional; without it and every one of the following no route is read.
    pub kvm_irq_routing: u32,
    /// `kvm_irq_routing_table.nr_rt_entries` (4 bytes), optional.
    pub routing_gsis: u32,
    /// `kvm_irq_routing_table.map` (one `struct hlist_head` a GSI), optional.
    pub routing_map: u32,
    /// `kvm_kernel_irq_routing_entry.link`, optional.
    pub route_link: u32,
    /// `kvm_kernel_irq_routing_entry.gsi` (4 bytes), optional.
    pub route_gsi: u32,
    /// `kvm_kernel_irq_routing_entry.type` (4 bytes), optional.
    pub route_type: u32,
    /// `kvm_kernel_irq_routing_entry.msi.address_lo` (4 bytes), optional.
    pub route_address_lo: u32,
    /// `kvm_kernel_irq_routing_entry.msi.address_hi` (4 bytes), optional.
    pub route_address_hi: u32,
    /// `kvm_kernel_irq_routing_entry.msi.data` (4 bytes), optional.
    pub route_data: u32,
    /// `task_struct.preempt_notifiers` (struct hlist_head), where programs may follow the current task's pointer (5.11 on);
    /// optional. Without it the vCPU that runs is found by `running_vcpu`.
    pub task_preempt_notifiers: u32,
    /// `task_struct.comm` (16 bytes), where `task_preempt_notifiers` is there.
    pub task_comm: u32,
    /// `kvm_vcpu.preempt_notifier.link`, where `task_preempt_notifiers` is there.
    pub vcpu_preempt_link: u32,
    /// `kvm_lapic_irq.vector` (4 bytes), optional; without it and every one of the following no interrupt is counted.
    pub irq_vector: u32,
    /// `kvm_lapic_irq.delivery_mode` (2 bytes), optional.
    pub irq_delivery_mode: u32,
    /// `kvm_lapic_irq.dest_mode` (2 bytes), optional.
    pub irq_dest_mode: u32,
    /// `kvm_lapic_irq.level` (1 byte), optional.
    pub irq_level: u32,
    /// `kvm_lapic_irq.trig_mode` (2 bytes), optional.
    pub irq_trig_mode: u32,
    /// `kvm_lapic_irq.shorthand` (4 bytes), optional.
    pub irq_shorthand: u32,
    /// `kvm_lapic_irq.dest_id` (4 bytes), optional.
    pub irq_dest_id: u32,
    /// `kvm_lapic_irq.msi_redir_hint` (1 byte), optional.
    pub irq_redirection_hint: u32,
}
}
assert_size!(Layout, 24 + 56 * 4);

impl Layout {
    /// What the object holds before the loader overrides it. The programs refuse to run on it, since
    /// `vm_list_head` is 0.
    pub const UNSET: Self = Self {
        vm_list_head: 0,
        running_vcpu: 0,
        per_cpu_offset: 0,
        kvm_vm_list: 0,
        kvm_online_vcpus: 0,
        kvm_vcpus: 0,
        vcpus_are_xarray: 0,
        xa_node_shift: 0,
        xa_node_slots: 0,
        kvm_userspace_pid: 0,
        kvm_mm: 0,
        mm_owner: 0,
        task_tgid: 0,
        kvm_debugfs_dentry: 0,
        dentry_name: 0,
        kvm_apic_map: 0,
        kvm_apic_map_dirty: 0,
        kvm_apicv_inhibits: 0,
        kvm_irqchip_mode: 0,
        kvm_x2apic_format: 0,
        kvm_broadcast_quirk: 0,
        kvm_vioapic: 0,
        ioapic_redirtbl: 0,
        vcpu_kvm: 0,
        vcpu_id: 0,
        vcpu_idx: 0,
        vcpu_apic: 0,
        vcpu_apic_base: 0,
        vcpu_apicv_active: 0,
        vcpu_rip: 0,
        lapic_vcpu: 0,
        lapic_sw_enabled: 0,
        lapic_regs: 0,
        lapic_apicv_active: 0,
        map_mode: 0,
        map_mode_bytes: 0,
        map_max_apic_id: 0,
        map_slots: 0,
        map_physical: 0,
        kvm_irq_routing: 0,
        routing_gsis: 0,
        routing_map: 0,
        route_link: 0,
        route_gsi: 0,
        route_type: 0,
        route_address_lo: 0,
        route_address_hi: 0,
        route_data: 0,
        task_preempt_notifiers: 0,
        task_comm: 0,
        vcpu_preempt_link: 0,
        irq_vector: 0,
        irq_delivery_mode: 0,
        irq_dest_mode: 0,
        irq_level: 0,
        irq_trig_mode: 0,
        irq_shorthand: 0,
        irq_dest_id: 0,
        irq_redirection_hint: 0,
    };
}
