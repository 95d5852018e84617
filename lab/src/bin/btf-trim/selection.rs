//! Which types stay: the structures that ldrscope asks for by name, all of that name, and what they are made of.
//!
//! Pointers end the walk: what they lead to is not part of a structure's layout.

use std::collections::BTreeSet;

use crate::format::{Role, Type, kind};

/// The structures and the enum that ldrscope looks up by name.
const WANTED: [&str; 12] = [
    "dentry",
    "kvm",
    "kvm_apic_map",
    "kvm_apicv_inhibit",
    "kvm_ioapic",
    "kvm_irq_routing_table",
    "kvm_kernel_irq_routing_entry",
    "kvm_lapic",
    "kvm_vcpu",
    "mm_struct",
    "task_struct",
    "xa_node",
];

/// The kernel's types: a base and what a module adds to it, laid end to end.
#[derive(Debug)]
pub(crate) struct Types<'a> {
    /// By id, counted from 1.
    pub(crate) all: Vec<&'a Type>,
    /// Both string sections, end to end: an offset of either part leads here.
    pub(crate) strings: Vec<u8>,
}

impl<'a> Types<'a> {
    /// The type of that id; `None` for void, and for an id that leads nowhere.
    pub(crate) fn get(&self, id: u32) -> Option<&'a Type> {
        self.all.get((id as usize).checked_sub(1)?).copied()
    }

    /// The string at that offset, without its NUL.
    pub(crate) fn string(&self, offset: u32) -> &[u8] {
        let rest = self.strings.get(offset as usize..).unwrap_or_default();
        rest.split(|&byte| byte == 0).next().unwrap_or_default()
    }

    /// Ids of the types that stay.
    pub(crate) fn selection(&self) -> BTreeSet<u32> {
        let mut pending: Vec<u32> = (1..=self.all.len() as u32)
            .filter(|&id| self.is_wanted(id))
            .collect();
        let mut kept = BTreeSet::new();
        while let Some(id) = pending.pop() {
            let Some(found) = self.get(id).filter(|found| found.kind() != kind::PTR) else {
                continue;
            };
            if kept.insert(id) {
                let parts = found.fields().filter(|(role, _)| *role == Role::TypeId);
                pending.extend(parts.map(|(_, part)| part));
            }
        }
        kept
    }

    fn is_wanted(&self, id: u32) -> bool {
        self.get(id).is_some_and(|found| {
            matches!(found.kind(), kind::STRUCT | kind::ENUM | kind::ENUM64)
                && WANTED
                    .iter()
                    .any(|name| name.as_bytes() == self.string(found.words[0]))
        })
    }
}
