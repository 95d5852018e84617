//! Where the members of the module's own structures are: from the types where they are there, else from the table of known
//! builds.

use probe_common::layout::ABSENT;

use super::{
    LayoutError, Struct,
    known::KnownBuild,
    members::{IrqMembers, ModuleMembers},
    optional,
};
use crate::kernel::btf::Btf;

impl ModuleMembers {
    /// By the types, else by `known`, which is then given back. Types that are there and lack a member are not
    /// completed from the table: they are of another kernel.
    pub(super) fn resolve(
        btf: &Btf<'_>,
        known: Option<&'static KnownBuild>,
    ) -> Result<(Self, Option<&'static KnownBuild>), LayoutError> {
        match (Self::of_types(btf), known) {
            (Err(LayoutError::NoStruct(_)), Some(build)) => Ok((build.members, known)),
            (of_types, _) => Ok((of_types?, None)),
        }
    }

    fn of_types(btf: &Btf<'_>) -> Result<Self, LayoutError> {
        let lapic = Struct::find(btf, "kvm_lapic")?;
        let entry = Struct::find(btf, "kvm_kernel_irq_routing_entry").ok();
        let route = |member| entry.as_ref().map_or(ABSENT, |entry| entry.optional(member));
        Ok(Self {
            lapic_vcpu: lapic.scalar("vcpu", 8)?,
            lapic_sw_enabled: lapic.scalar("sw_enabled", 1)?,
            lapic_regs: lapic.scalar("regs", 8)?,
            lapic_apicv_active: lapic.optional("apicv_active"),
            ioapic_redirtbl: optional(btf, "kvm_ioapic", "redirtbl"),
            route_link: route("link"),
            route_gsi: route("gsi"),
            route_type: route("type"),
            route_address_lo: route("msi.address_lo"),
            route_address_hi: route("msi.address_hi"),
            route_data: route("msi.data"),
            irq: IrqMembers::of_types(btf),
        })
    }
}

impl IrqMembers {
    /// A member that is missing or has another width is not there: interrupts are not counted then, and all else works.
    fn of_types(btf: &Btf<'_>) -> Self {
        let irq = Struct::find(btf, "kvm_lapic_irq").ok();
        let member = |path, bytes| {
            let found = irq.as_ref().and_then(|irq| irq.scalar(path, bytes).ok());
            found.unwrap_or(ABSENT)
        };
        Self {
            vector: member("vector", 4),
            delivery_mode: member("delivery_mode", 2),
            dest_mode: member("dest_mode", 2),
            level: member("level", 1),
            trig_mode: member("trig_mode", 2),
            shorthand: member("shorthand", 4),
            dest_id: member("dest_id", 4),
            msi_redir_hint: member("msi_redir_hint", 1),
        }
    }
}
