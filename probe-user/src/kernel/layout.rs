//! Where the running kernel keeps what ldrscope reads: one table of members, resolved from BTF.
//!
//! A member that ldrscope cannot do without and that is not found, or on which several structures of one
//! name disagree, refuses the kernel by that member's name. Nothing is looked up by version.

use std::collections::BTreeMap;

use probe_apic::map_rules::MapRules;
use probe_common::layout::{ABSENT, Layout};
use thiserror::Error;

use self::{known::KnownBuild, members::ModuleMembers};
use super::{
    btf::{Btf, TypeId},
    inhibits::InhibitTable,
};

pub mod known;
mod members;
mod module;

/// Why a layout could not be resolved.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LayoutError {
    /// No structure of that name has members.
    #[error("there is no `struct {0}`")]
    NoStruct(&'static str),
    /// A member that must be there is not.
    #[error("`struct {of}` has no member `{member}`")]
    NoMember {
        /// The structure.
        of: &'static str,
        /// The member's path.
        member: &'static str,
    },
    /// Structures of one name put a member at different places.
    #[error("the structures named `{of}` disagree on where `{member}` is")]
    Ambiguous {
        /// The structure.
        of: &'static str,
        /// The member's path.
        member: &'static str,
    },
    /// A member has a width that ldrscope does not know how to read.
    #[error("`{member}` of `struct {of}` is {bytes} bytes wide")]
    Width {
        /// The structure.
        of: &'static str,
        /// The member's path.
        member: &'static str,
        /// Its width.
        bytes: u32,
    },
}

impl LayoutError {
    /// The structure or `structure.member` it is about.
    #[must_use]
    pub fn path(&self) -> String {
        match self {
            Self::NoStruct(name) => (*name).to_owned(),
            Self::NoMember { of, member }
            | Self::Ambiguous { of, member }
            | Self::Width { of, member, .. } => {
                format!("{of}.{member}")
            }
        }
    }
}

/// How the map's mode is kept: this tells the generations apart, where version numbers cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapModeKind {
    /// `u8 mode`, bits OR-ed together: `keep-disabled` or `overwrite`.
    Bits,
    /// `enum kvm_apic_logical_mode logical_mode`: `conflict-disables`.
    Enum,
}

impl MapModeKind {
    /// The map rules that may go with it, likeliest first. Only published maps tell `keep-disabled` apart, but no
    /// kernel that keeps `apic_map_dirty` (5.7 on), which the layout requires, has those rules by itself.
    #[must_use]
    pub const fn possible_rules(self) -> &'static [MapRules] {
        match self {
            Self::Bits => &[MapRules::Overwrite, MapRules::KeepDisabled],
            Self::Enum => &[MapRules::ConflictDisables],
        }
    }
}

/// A resolved kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Offsets for the kernel-side programs; the symbol addresses are still 0.
    pub layout: Layout,
    /// What the programs copy as it is, and userspace has to read.
    pub encoding: Encoding,
    /// The build from whose row of the table members were taken that no type tells: not to be believed before a
    /// canary was read by them. `None` where the types tell everything.
    pub known_build: Option<&'static KnownBuild>,
    /// The type ids of the hooks' functions, by which fentry programs are attached; empty where the running kernel's own
    /// types do not tell them.
    pub functions: BTreeMap<&'static str, u32>,
}

impl Resolved {
    /// Whether it is known where MSI routes are; otherwise none is read.
    #[must_use]
    pub fn tells_routes(&self) -> bool {
        let layout = &self.layout;
        let members = [
            layout.kvm_irq_routing,
            layout.routing_gsis,
            layout.routing_map,
            layout.route_link,
            layout.route_gsi,
            layout.route_type,
            layout.route_address_lo,
            layout.route_address_hi,
            layout.route_data,
        ];
        !members.contains(&ABSENT)
    }

    /// Whether it is known what an interrupt consists of; otherwise none can be counted.
    #[must_use]
    pub fn tells_interrupts(&self) -> bool {
        let layout = &self.layout;
        let members = [
            layout.irq_vector,
            layout.irq_delivery_mode,
            layout.irq_dest_mode,
            layout.irq_level,
            layout.irq_trig_mode,
            layout.irq_shorthand,
            layout.irq_dest_id,
            layout.irq_redirection_hint,
        ];
        !members.contains(&ABSENT)
    }
}

/// How the kernel keeps what differs from one to another in meaning, not only in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// How the map's mode is kept.
    pub map_mode: MapModeKind,
    /// What each bit of `apicv_inhibit_reasons` means.
    pub inhibits: InhibitTable,
    /// Whether the process that owns a VM's memory is told (`kvm->mm->owner->tgid`).
    pub tells_owner: bool,
}

/// One structure's candidates, all asked for every member.
struct Struct<'a> {
    btf: &'a Btf<'a>,
    name: &'static str,
    candidates: Vec<TypeId>,
}

impl<'a> Struct<'a> {
    fn find(btf: &'a Btf<'a>, name: &'static str) -> Result<Self, LayoutError> {
        let candidates = btf.structs(name);
        if candidates.is_empty() {
            Err(LayoutError::NoStruct(name))
        } else {
            Ok(Self {
                btf,
                name,
                candidates,
            })
        }
    }

    /// Offset and width of a member on which all candidates agree; `None` where none has it.
    fn lookup(&self, path: &'static str) -> Result<Option<(u32, Option<u32>)>, LayoutError> {
        let mut answers = self.candidates.iter().map(|&candidate| {
            let member = self.btf.member(candidate, path)?;
            Some((member.offset, self.btf.size(member.type_id)))
        });
        let first = answers.next().flatten();
        if answers.all(|answer| answer == first) {
            Ok(first)
        } else {
            Err(LayoutError::Ambiguous {
                of: self.name,
                member: path,
            })
        }
    }

    fn required(&self, path: &'static str) -> Result<u32, LayoutError> {
        let found = self.lookup(path)?;
        found.map(|(offset, _)| offset).ok_or(LayoutError::NoMember {
            of: self.name,
            member: path,
        })
    }

    /// A member to do without where it is missing, or where candidates disagree.
    fn optional(&self, path: &'static str) -> u32 {
        let found = self.lookup(path).unwrap_or_else(|error| {
            log::warn!("{error}; ldrscope does without");
            None
        });
        found.map_or(ABSENT, |(offset, _)| offset)
    }

    /// A required member of exactly that width in bytes.
    fn scalar(&self, path: &'static str, want: u32) -> Result<u32, LayoutError> {
        let missing = LayoutError::NoMember {
            of: self.name,
            member: path,
        };
        match self.lookup(path)?.ok_or(missing)? {
            (offset, Some(bytes)) if bytes == want => Ok(offset),
            (_, bytes) => Err(LayoutError::Width {
                of: self.name,
                member: path,
                bytes: bytes.unwrap_or(0),
            }),
        }
    }
}

/// An optional member of a structure that may itself be missing.
fn optional(btf: &Btf<'_>, of: &'static str, path: &'static str) -> u32 {
    Struct::find(btf, of).map_or(ABSENT, |found| found.optional(path))
}

/// Resolves every member the kernel side reads. `known` stands in where no type describes the module's own
/// structures.
///
/// # Errors
///
/// The first member that must be known and is not.
pub fn resolve(btf: &Btf<'_>, known: Option<&'static KnownBuild>) -> Result<Resolved, LayoutError> {
    let kvm = Struct::find(btf, "kvm")?;
    let vcpu = Struct::find(btf, "kvm_vcpu")?;
    let (module, known_build) = ModuleMembers::resolve(btf, known)?;
    let map = Struct::find(btf, "kvm_apic_map")?;
    let (vcpus_are_xarray, kvm_vcpus) = vcpu_table(&kvm)?;
    let (xa_node_shift, xa_node_slots) = if vcpus_are_xarray {
        let node = Struct::find(btf, "xa_node")?;
        (node.scalar("shift", 1)?, node.required("slots")?)
    } else {
        (ABSENT, ABSENT)
    };
    let (map_mode, map_mode_bytes, mode_offset) = map_mode(&map)?;
    let task = TaskMembers::resolve(btf, &vcpu);
    let layout = Layout {
        kvm_vm_list: kvm.scalar("vm_list", 16)?,
        kvm_online_vcpus: kvm.scalar("online_vcpus", 4)?,
        kvm_vcpus,
        vcpus_are_xarray: u32::from(vcpus_are_xarray),
        xa_node_shift,
        xa_node_slots,
        kvm_userspace_pid: kvm.scalar("userspace_pid", 4)?,
        kvm_mm: kvm.optional("mm"),
        mm_owner: optional(btf, "mm_struct", "owner"),
        task_tgid: optional(btf, "task_struct", "tgid"),
        kvm_debugfs_dentry: kvm.optional("debugfs_dentry"),
        dentry_name: optional(btf, "dentry", "d_name.name"),
        kvm_apic_map: kvm.scalar("arch.apic_map", 8)?,
        kvm_apic_map_dirty: kvm.scalar("arch.apic_map_dirty", 4)?,
        kvm_apicv_inhibits: kvm.optional("arch.apicv_inhibit_reasons"),
        kvm_irqchip_mode: kvm.scalar("arch.irqchip_mode", 4)?,
        kvm_x2apic_format: kvm.scalar("arch.x2apic_format", 1)?,
        kvm_broadcast_quirk: kvm.scalar("arch.x2apic_broadcast_quirk_disabled", 1)?,
        kvm_vioapic: kvm.optional("arch.vioapic"),
        ioapic_redirtbl: module.ioapic_redirtbl,
        vcpu_kvm: vcpu.scalar("kvm", 8)?,
        vcpu_id: vcpu.scalar("vcpu_id", 4)?,
        vcpu_idx: vcpu.scalar("vcpu_idx", 4)?,
        vcpu_apic: vcpu.scalar("arch.apic", 8)?,
        vcpu_apic_base: vcpu.scalar("arch.apic_base", 8)?,
        vcpu_apicv_active: vcpu.optional("arch.apicv_active"),
        vcpu_rip: guest_rip(&vcpu)?,
        lapic_vcpu: module.lapic_vcpu,
        lapic_sw_enabled: module.lapic_sw_enabled,
        lapic_regs: module.lapic_regs,
        lapic_apicv_active: module.lapic_apicv_active,
        map_mode: mode_offset,
        map_mode_bytes,
        map_max_apic_id: map.scalar("max_apic_id", 4)?,
        map_slots: map.required("xapic_flat_map")?,
        map_physical: map.required("phys_map")?,
        kvm_irq_routing: kvm.optional("irq_routing"),
        routing_gsis: optional(btf, "kvm_irq_routing_table", "nr_rt_entries"),
        routing_map: optional(btf, "kvm_irq_routing_table", "map"),
        route_link: module.route_link,
        route_gsi: module.route_gsi,
        route_type: module.route_type,
        route_address_lo: module.route_address_lo,
        route_address_hi: module.route_address_hi,
        route_data: module.route_data,
        task_preempt_notifiers: task.preempt_notifiers,
        task_comm: task.comm,
        vcpu_preempt_link: task.vcpu_link,
        irq_vector: module.irq.vector,
        irq_delivery_mode: module.irq.delivery_mode,
        irq_dest_mode: module.irq.dest_mode,
        irq_level: module.irq.level,
        irq_trig_mode: module.irq.trig_mode,
        irq_shorthand: module.irq.shorthand,
        irq_dest_id: module.irq.dest_id,
        irq_redirection_hint: module.irq.msi_redir_hint,
        ..Layout::UNSET
    };
    let owner = [layout.kvm_mm, layout.mm_owner, layout.task_tgid];
    Ok(Resolved {
        layout,
        encoding: Encoding {
            map_mode,
            inhibits: InhibitTable::of(btf),
            tells_owner: !owner.contains(&ABSENT),
        },
        known_build,
        functions: BTreeMap::new(),
    })
}

/// How a task leads to its name and to the vCPU that it has loaded. All of them or none.
struct TaskMembers {
    preempt_notifiers: u32,
    comm: u32,
    vcpu_link: u32,
}

impl TaskMembers {
    const NONE: Self = Self {
        preempt_notifiers: ABSENT,
        comm: ABSENT,
        vcpu_link: ABSENT,
    };

    /// None where programs cannot ask for the current task as a pointer that may be followed (before 5.11, commit
    /// 3ca1032ab7ab), which the kernel's list of helpers tells.
    fn resolve(btf: &Btf<'_>, vcpu: &Struct<'_>) -> Self {
        let helper = |(name, _): &(String, u64)| name == "BPF_FUNC_get_current_task_btf";
        let found = Self {
            preempt_notifiers: optional(btf, "task_struct", "preempt_notifiers"),
            comm: optional(btf, "task_struct", "comm"),
            vcpu_link: vcpu.optional("preempt_notifier.link"),
        };
        let complete = ![found.preempt_notifiers, found.comm, found.vcpu_link].contains(&ABSENT);
        if complete && btf.enumerators("bpf_func_id").iter().any(helper) {
            found
        } else {
            Self::NONE
        }
    }
}

/// The vCPU table: an xarray from 5.17 on (commit c5b077549136), a plain array before.
fn vcpu_table(kvm: &Struct<'_>) -> Result<(bool, u32), LayoutError> {
    if let Some((offset, _)) = kvm.lookup("vcpu_array.xa_head")? {
        return Ok((true, offset));
    }
    Ok((false, kvm.required("vcpus")?))
}

fn map_mode(map: &Struct<'_>) -> Result<(MapModeKind, u32, u32), LayoutError> {
    if map.lookup("logical_mode")?.is_some() {
        return Ok((MapModeKind::Enum, 4, map.scalar("logical_mode", 4)?));
    }
    Ok((MapModeKind::Bits, 1, map.scalar("mode", 1)?))
}

/// The guest's instruction pointer: a member of its own on 7.3, before that `regs[VCPU_REGS_RIP]`, behind the
/// sixteen general registers (`enum kvm_reg`).
fn guest_rip(vcpu: &Struct<'_>) -> Result<u32, LayoutError> {
    const VCPU_REGS_RIP: u32 = 16;
    if let Some((offset, _)) = vcpu.lookup("arch.rip")? {
        return Ok(offset);
    }
    let rip = vcpu.lookup("arch.regs")?.and_then(|(offset, bytes)| {
        let holds_rip = bytes? > VCPU_REGS_RIP * 8;
        offset.checked_add(VCPU_REGS_RIP * 8).filter(|_| holds_rip)
    });
    Ok(rip.unwrap_or(ABSENT))
}

#[cfg(test)]
mod tests;
