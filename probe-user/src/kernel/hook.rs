//! The hooks: one row each. Which function of KVM it sits on, in which hook set, and what is lost without it.

use crate::kernel::symbols::Symbols;

/// One hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The program in the kernel-side object, a kprobe.
    pub program: &'static str,
    /// The fentry program that may take its place while there are VMs. None where the function is rare: before 6.12 the kernel
    /// takes some 200 ms to let go of each.
    pub fast: Option<&'static str>,
    /// Functions it may sit on, the same entry point under its names through the kernels.
    pub functions: &'static [&'static str],
    /// Whether it sits on one of them or on all that exist.
    pub placement: Placement,
    /// The hook set it belongs to.
    pub set: Set,
    /// What is lost without it.
    pub need: Need,
}

/// Where a hook with several functions sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// On the first that exists: renames.
    First,
    /// On all that exist: a function the compiler split, of which either part may be entered.
    All,
}

/// The hook set that a hook belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// Always attached: cold entry points only.
    Cold,
    /// Attached on top in precise mode: hot entry points.
    Precise,
    /// Attached on top where interrupts are to be counted: hot with guests that use logical destinations.
    Interrupts,
}

/// What it means that no function of a hook exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing can be observed.
    Required,
    /// The rest works; this is lost.
    Optional(&'static str),
}

/// Every hook. KVM's prototypes are on the programs.
pub const HOOKS: &[Hook] = &[
    Hook {
        program: "recalculated",
        fast: Some("recalculated_fast"),
        functions: &["kvm_make_scan_ioapic_request"],
        placement: Placement::First,
        set: Set::Cold,
        need: Need::Required,
    },
    Hook {
        program: "pin_written",
        fast: None,
        functions: &["kvm_make_scan_ioapic_request_mask"],
        placement: Placement::First,
        set: Set::Cold,
        need: Need::Optional("an IOAPIC pin that begins to aim at a broken slot is seen up to a second late"),
    },
    Hook {
        program: "routes_replaced",
        fast: None,
        functions: &["kvm_arch_irq_routing_update"],
        placement: Placement::First,
        set: Set::Cold,
        need: Need::Optional("an MSI route that begins to aim at a broken slot is seen up to a second late"),
    },
    Hook {
        program: "vm_born",
        fast: None,
        functions: &["kvm_arch_init_vm"],
        placement: Placement::First,
        set: Set::Cold,
        need: Need::Required,
    },
    Hook {
        program: "vm_gone",
        fast: None,
        functions: &["kvm_arch_destroy_vm"],
        placement: Placement::First,
        set: Set::Cold,
        need: Need::Required,
    },
    Hook {
        program: "vcpu_born",
        fast: None,
        functions: &["kvm_arch_vcpu_postcreate"],
        placement: Placement::First,
        set: Set::Cold,
        need: Need::Required,
    },
    Hook {
        program: "set_lapic",
        fast: Some("set_lapic_fast"),
        functions: &["kvm_apic_set_state"],
        placement: Placement::First,
        set: Set::Cold,
        need: Need::Optional("changes by KVM_SET_LAPIC are taken for guest writes"),
    },
    Hook {
        program: "lapic_reset",
        fast: Some("lapic_reset_fast"),
        functions: &["kvm_lapic_reset"],
        placement: Placement::First,
        set: Set::Cold,
        need: Need::Optional(
            "INIT and reset are taken for guest writes, and left-over LDRs are not suspected",
        ),
    },
    Hook {
        program: "apic_base",
        fast: Some("apic_base_fast"),
        functions: &["__kvm_apic_set_base", "kvm_lapic_set_base"],
        placement: Placement::First,
        set: Set::Cold,
        need: Need::Optional("changes of IA32_APIC_BASE are taken for guest writes"),
    },
    Hook {
        program: "reg_write",
        fast: Some("reg_write_fast"),
        functions: &["kvm_lapic_reg_write"],
        placement: Placement::First,
        set: Set::Precise,
        need: Need::Required,
    },
    Hook {
        program: "recalculating",
        fast: Some("recalculating_fast"),
        functions: &["kvm_recalculate_apic_map", "kvm_recalculate_apic_map.part.0"],
        placement: Placement::All,
        set: Set::Precise,
        need: Need::Required,
    },
    Hook {
        program: INTERRUPT,
        fast: Some("interrupt_fast"),
        functions: &["__kvm_irq_delivery_to_apic_fast", "kvm_irq_delivery_to_apic_fast"],
        placement: Placement::First,
        set: Set::Interrupts,
        need: Need::Required,
    },
];

/// The program that counts interrupts.
pub const INTERRUPT: &str = "interrupt";

/// The functions of every hook that has an fentry program.
#[must_use]
pub fn functions() -> Vec<&'static str> {
    let fast = HOOKS.iter().filter(|hook| hook.fast.is_some());
    fast.flat_map(|hook| hook.functions).copied().collect()
}

impl Hook {
    /// The functions of this kernel that the hook sits on; empty where there is none.
    #[must_use]
    pub fn sites(&self, symbols: &Symbols) -> Vec<&'static str> {
        let mut present = self
            .functions
            .iter()
            .copied()
            .filter(|function| symbols.has_function(function));
        match self.placement {
            Placement::First => present.next().into_iter().collect(),
            Placement::All => present.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbols(names: &[&str]) -> Symbols {
        let lines: String = names
            .iter()
            .map(|name| format!("ffffffffc0000000 t {name}\t[kvm]\n"))
            .collect();
        Symbols::parse(lines.as_bytes()).unwrap()
    }

    fn hook(program: &str) -> &'static Hook {
        HOOKS.iter().find(|hook| hook.program == program).unwrap()
    }

    #[test]
    fn a_renamed_function_is_hooked_once() {
        let both = symbols(&["kvm_lapic_set_base", "__kvm_apic_set_base"]);
        assert_eq!(hook("apic_base").sites(&both), ["__kvm_apic_set_base"]);
        let old = symbols(&["kvm_lapic_set_base"]);
        assert_eq!(hook("apic_base").sites(&old), ["kvm_lapic_set_base"]);
    }

    #[test]
    fn a_split_function_is_hooked_in_all_its_parts() {
        let split = symbols(&["kvm_recalculate_apic_map", "kvm_recalculate_apic_map.part.0"]);
        assert_eq!(hook("recalculating").sites(&split).len(), 2);
    }

    #[test]
    fn a_missing_function_has_no_site() {
        assert!(hook("vm_gone").sites(&symbols(&[])).is_empty());
    }
}
