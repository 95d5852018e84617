//! Members of the structures that only the kvm module's types describe (arch/x86/kvm/lapic.h, ioapic.h and
//! include/linux/kvm_host.h).

/// Offsets as in [`probe_common::layout::Layout`], by the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ModuleMembers {
    pub(super) lapic_vcpu: u32,
    pub(super) lapic_sw_enabled: u32,
    pub(super) lapic_regs: u32,
    pub(super) lapic_apicv_active: u32,
    pub(super) ioapic_redirtbl: u32,
    pub(super) route_link: u32,
    pub(super) route_gsi: u32,
    pub(super) route_type: u32,
    pub(super) route_address_lo: u32,
    pub(super) route_address_hi: u32,
    pub(super) route_data: u32,
    pub(super) irq: IrqMembers,
}

/// Members of `struct kvm_lapic_irq` (arch/x86/include/asm/kvm_host.h), as in the layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IrqMembers {
    pub(super) vector: u32,
    pub(super) delivery_mode: u32,
    pub(super) dest_mode: u32,
    pub(super) level: u32,
    pub(super) trig_mode: u32,
    pub(super) shorthand: u32,
    pub(super) dest_id: u32,
    pub(super) msi_redir_hint: u32,
}
