//! The rules by which a VM is judged: one table, one rule a file. A rule says what it found and where; what
//! that amounts to ([`crate::severity`]) and who caused it ([`crate::history`]) is added here, the same way
//! for all. A new rule is one file and one row.

use crate::{
    cause::Register,
    finding::{Evidence, Finding, FindingKey, Rule},
    id::{Slot, VcpuId},
    logical_id::Model,
    map::{LogicalAndPhysicalMap, MapMode},
    observation::{Irqchip, VcpuSample},
    severity::{Consequences, Scope},
    vm::{MapInUse, Vm},
};

mod apicv_inhibited;
mod claims;
mod conflict;
mod dfr_invalid;
mod gone_astray;
mod interrupt_lost;
mod interrupt_misrouted;
mod ldr_collision;
mod ldr_multi_bit;
mod ldr_stale;
mod ldr_unset;
mod map_disabled;
mod map_divergence;
mod mode_mixed;
mod physical_alias;
mod places;
#[cfg(test)]
mod tests;
mod wording;
mod x2apic_id_mismatch;

use claims::Claims;

/// The table of rules, in the order in which findings are listed.
const TABLE: [Row; Rule::ALL.len()] = [
    Row {
        rule: Rule::LdrMultiBit,
        find: ldr_multi_bit::find,
    },
    Row {
        rule: Rule::LdrCollision,
        find: ldr_collision::find,
    },
    Row {
        rule: Rule::LdrStale,
        find: ldr_stale::find,
    },
    Row {
        rule: Rule::LdrUnset,
        find: ldr_unset::find,
    },
    Row {
        rule: Rule::ModeMixed,
        find: mode_mixed::find,
    },
    Row {
        rule: Rule::DfrInvalid,
        find: dfr_invalid::find,
    },
    Row {
        rule: Rule::X2apicIdMismatch,
        find: x2apic_id_mismatch::find,
    },
    Row {
        rule: Rule::PhysicalAlias,
        find: physical_alias::find,
    },
    Row {
        rule: Rule::MapDisabled,
        find: map_disabled::find,
    },
    Row {
        rule: Rule::ApicvInhibited,
        find: apicv_inhibited::find,
    },
    Row {
        rule: Rule::MapDivergence,
        find: map_divergence::find,
    },
    Row {
        rule: Rule::InterruptLost,
        find: interrupt_lost::find,
    },
    Row {
        rule: Rule::InterruptMisrouted,
        find: interrupt_misrouted::find,
    },
];

struct Row {
    rule: Rule,
    find: for<'a> fn(&View<'a>) -> Vec<Draft<'a>>,
}

/// What a rule looks at.
struct View<'a> {
    vm: &'a Vm,
    vcpus: &'a [VcpuSample],
    /// Who claims which slot, counted once for all rules.
    claims: Claims,
}

/// What a rule found.
struct Draft<'a> {
    /// The slot, for a rule with one finding a slot.
    slot: Option<Slot>,
    /// The vCPUs, in any order.
    vcpus: Vec<&'a VcpuSample>,
    /// The slots, each read by its model.
    slots: Vec<(Model, Slot)>,
    suspected: bool,
    /// The registers whose last change may have caused it, most telling first.
    registers: &'static [Register],
    /// One sentence without a full stop.
    summary: String,
}

/// The registers by which a vCPU comes to claim a slot, or ceases to.
const CLAIM_REGISTERS: &[Register] = &[Register::Ldr, Register::Dfr, Register::Svr, Register::ApicBase];

/// Judges a VM: all its findings, in the order of their keys. A VM that was not read yet, or whose LAPICs are
/// not in KVM, has none.
#[must_use]
pub fn judge(vm: &Vm) -> Vec<Finding> {
    if matches!(vm.irqchip(), None | Some(Irqchip::Userspace)) {
        return Vec::new();
    }
    let view = View {
        vm,
        vcpus: vm.vcpus(),
        claims: Claims::count(vm.vcpus()),
    };
    let consequences = Consequences::of(vm);
    let mut findings = Vec::new();
    for row in &TABLE {
        findings.extend(
            (row.find)(&view)
                .into_iter()
                .map(|draft| draft.finish(row.rule, vm, &consequences)),
        );
    }
    findings
}

impl Draft<'_> {
    fn scope(&self, rule: Rule) -> Scope {
        let vcpus = self.vcpus.iter().copied();
        match rule {
            Rule::X2apicIdMismatch | Rule::PhysicalAlias => Scope::physical(vcpus),
            // It names who caused the scans; they slow every logical interrupt.
            Rule::MapDisabled => Scope::logical(vcpus, &self.slots).slow_everywhere(),
            Rule::ApicvInhibited => Scope::logical(vcpus, &self.slots).losing_apicv(),
            Rule::InterruptLost | Rule::InterruptMisrouted => Scope::logical(vcpus, &self.slots).seen(),
            _ => Scope::logical(vcpus, &self.slots),
        }
    }

    fn finish(mut self, rule: Rule, vm: &Vm, consequences: &Consequences<'_>) -> Finding {
        self.vcpus.sort_by_key(|vcpu| vcpu.id);
        let assessment = consequences.assess(&self.scope(rule));
        let mut summary = self.summary;
        if let Some(aim) = assessment.aim {
            summary = format!("{summary}; {aim}");
        }
        let mut slots: Vec<Slot> = self.slots.into_iter().map(|(_, slot)| slot).collect();
        slots.sort_unstable();
        slots.dedup();
        Finding {
            key: FindingKey {
                rule,
                slot: self.slot,
            },
            severity: assessment.severity,
            vcpus: self.vcpus.iter().map(|vcpu| vcpu.id).collect(),
            slots,
            since: match rule {
                Rule::InterruptLost => gone_astray::since(vm, interrupt_lost::is_meant),
                Rule::InterruptMisrouted => gone_astray::since(vm, interrupt_misrouted::is_meant),
                _ => vm.state_since(),
            },
            summary,
            confidence: vm.confidence(),
            suspected: self.suspected,
            effect: assessment.effect,
            evidence: self
                .vcpus
                .iter()
                .map(|vcpu| Evidence {
                    vcpu_id: vcpu.id,
                    lapic: vcpu.lapic,
                })
                .collect(),
            cause: vm
                .history()
                .latest_cause(self.vcpus.iter().map(|vcpu| vcpu.id), self.registers),
        }
    }
}

/// How KVM looks a logical interrupt up at the moment.
enum Lookup<'a> {
    /// In this map's slots, read by this model.
    Slots(Model, &'a LogicalAndPhysicalMap),
    /// It scans all vCPUs: the map is disabled, mixed, or NULL.
    Scan,
    /// By another map, or it cannot be told.
    Other,
}

impl<'a> View<'a> {
    fn lookup(&self) -> Lookup<'a> {
        match self.vm.map_in_use() {
            MapInUse::Unknown => Lookup::Other,
            MapInUse::Known(None) => Lookup::Scan,
            MapInUse::Known(Some(map)) => match map.mode {
                MapMode::Flat => Lookup::Slots(Model::Flat, map),
                MapMode::Cluster => Lookup::Slots(Model::Cluster, map),
                MapMode::Disabled | MapMode::Mixed => Lookup::Scan,
                MapMode::SwDisabled | MapMode::X2apic => Lookup::Other,
            },
        }
    }

    /// Enabled vCPUs in xAPIC mode.
    fn enabled_xapics(&self) -> impl Iterator<Item = &'a VcpuSample> {
        self.vcpus.iter().filter(|vcpu| vcpu.lapic.enabled_xapic())
    }

    /// Whether the LDR of an enabled vCPU is suspected to be left over.
    fn suspects(&self, vcpu: &VcpuSample) -> bool {
        vcpu.lapic.enabled_xapic()
            && !vcpu.lapic.xapic_logical_id().is_zero()
            && self.vm.history().suspects(vcpu.id)
    }
}

fn ids<'a>(vcpus: impl IntoIterator<Item = &'a VcpuSample>) -> Vec<VcpuId> {
    vcpus.into_iter().map(|vcpu| vcpu.id).collect()
}

/// The slots that the LDRs of `vcpus` name, each once, ascending.
fn named_slots<'a>(vcpus: impl IntoIterator<Item = &'a VcpuSample>) -> Vec<(Model, Slot)> {
    places::each_once(vcpus.into_iter().filter_map(|vcpu| vcpu.lapic.names()))
}
