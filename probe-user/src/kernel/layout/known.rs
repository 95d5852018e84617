//! Builds whose kvm module has no type information anywhere on the host, and where they keep what only that module's
//! types would tell.
//!
//! Consulted only where the kernel's BTF lacks the structure, and believed only once a canary has been read through
//! it: [`super::Resolved::known_build`] tells the observer so. Each row was read off the disassembly of the builds
//! that it names. Everything else of such a kernel still comes from its BTF.

use probe_common::layout::ABSENT;

use super::members::{IrqMembers, ModuleMembers};

/// A family of builds that agree on where these members lie.
#[derive(Debug, PartialEq, Eq)]
pub struct KnownBuild {
    /// What to call the family.
    pub name: &'static str,
    /// What the releases of its kernels begin with.
    release_begins: &'static str,
    /// What they end with.
    release_ends: &'static str,
    /// Where the members are.
    pub(super) members: ModuleMembers,
}

/// The table.
const KNOWN: &[KnownBuild] = &[
    // 5.10.218, 5.10.223, 5.10.251 and 5.10.262, the last also in its cloud flavour: `kvm_create_lapic` stores its
    // argument, the vCPU, at 0x98 and the page from `get_zeroed_page` at 0xb0 of the 0xf8 bytes that it allocates;
    // `kvm_free_lapic` tests the byte at 0xa0 before it lowers the count `apic_sw_disabled`; `kvm_ioapic_init` sets the
    // mask bits of 24 entries of 8 bytes from 0x18 on; `kvm_set_msi_irq` stores the parts of a message, and
    // `kvm_irq_delivery_to_apic_fast` hands the rest on to `__apic_accept_irq`. The debug data of 5.10.262 says the same.
    KnownBuild {
        name: "Debian 5.10",
        release_begins: "5.10.0-",
        release_ends: "-amd64",
        members: ModuleMembers {
            lapic_vcpu: 152,
            lapic_sw_enabled: 160,
            lapic_regs: 176,
            // Kept in the vCPU.
            lapic_apicv_active: ABSENT,
            ioapic_redirtbl: 24,
            route_link: 48,
            route_gsi: 0,
            route_type: 4,
            route_address_lo: 16,
            route_address_hi: 20,
            route_data: 24,
            irq: IrqMembers {
                vector: 0,
                delivery_mode: 4,
                dest_mode: 6,
                level: 8,
                trig_mode: 10,
                shorthand: 12,
                dest_id: 16,
                msi_redir_hint: 20,
            },
        },
    },
];

/// The family that a kernel belongs to, by its release as `uname -r` prints it.
#[must_use]
pub fn find(release: &str) -> Option<&'static KnownBuild> {
    KNOWN
        .iter()
        .find(|build| release.starts_with(build.release_begins) && release.ends_with(build.release_ends))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_known_by_its_distribution_not_by_its_version_alone() {
        for release in ["5.10.0-46-amd64", "5.10.0-32-cloud-amd64"] {
            assert_eq!(find(release).map(|build| build.name), Some("Debian 5.10"));
        }
        for release in [
            "5.10.262",
            "5.10.0-46-686-pae",
            "6.1.0-56-amd64",
            "5.10.230-1.el8.x86_64",
        ] {
            assert_eq!(find(release), None, "{release}");
        }
    }
}
