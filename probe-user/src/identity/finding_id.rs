//! The stable id of a finding: the same finding of the same VM has the same id in every run and every copy
//! of ldrscope.
//!
//! It is made from the VM's UUID, which outlives reboots and migrations, or else, also where another VM has that UUID
//! already, from its process; then the rule and the slot. It is an identifier, not a checksum: 64 bits of FNV-1a in 16 hex digits.

use probe_apic::finding::FindingKey;

use super::VmIdentity;

/// The id of the finding `key` of the VM `vm`.
#[must_use]
pub fn finding_id(vm: &VmIdentity, key: &FindingKey) -> String {
    let mut hash = Fnv1a::new();
    match own_uuid(vm) {
        Some(uuid) => hash.field(b"uuid").field(uuid.as_bytes()),
        None => hash
            .field(b"process")
            .field(&vm.pid.unwrap_or(0).to_le_bytes())
            .field(&vm.start_time.unwrap_or(0).to_le_bytes())
            .field(vm.discriminator.as_bytes()),
    };
    hash.field(key.rule.name().as_bytes());
    if let Some(slot) = key.slot {
        hash.field(&[slot.cluster, slot.bit]);
    }
    format!("{:016x}", hash.0)
}

/// Whether both identities give every finding the same id.
#[must_use]
pub fn same_ids(one: &VmIdentity, other: &VmIdentity) -> bool {
    match (own_uuid(one), own_uuid(other)) {
        (None, None) => {
            (one.pid, one.start_time, &one.discriminator)
                == (other.pid, other.start_time, &other.discriminator)
        }
        (one, other) => one == other,
    }
}

fn own_uuid(vm: &VmIdentity) -> Option<&str> {
    vm.uuid.as_deref().filter(|_| !vm.twin)
}

/// 64-bit FNV-1a (draft-eastlake-fnv): its value is fixed by its definition, unlike that of std's hasher.
struct Fnv1a(u64);

impl Fnv1a {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Hashes one field with its length first, so that neighbours cannot run into each other.
    fn field(&mut self, bytes: &[u8]) -> &mut Self {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes();
        for byte in length.iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use probe_apic::{finding::Rule, id::Slot};

    use super::*;

    const KEY: FindingKey = FindingKey {
        rule: Rule::LdrMultiBit,
        slot: None,
    };

    fn vm(uuid: Option<&str>, pid: u32, discriminator: &str) -> VmIdentity {
        VmIdentity {
            uuid: uuid.map(str::to_owned),
            pid: Some(pid),
            start_time: Some(1),
            discriminator: discriminator.to_owned(),
            ..VmIdentity::unknown()
        }
    }

    #[test]
    fn a_vm_with_a_uuid_keeps_its_ids_in_another_process() {
        assert_eq!(
            finding_id(&vm(Some("u"), 1, "a"), &KEY),
            finding_id(&vm(Some("u"), 2, "b"), &KEY)
        );
    }

    #[test]
    fn vms_of_one_process_rules_and_slots_have_ids_of_their_own() {
        let slot = |bit| FindingKey {
            rule: Rule::LdrCollision,
            slot: Some(Slot { cluster: 0, bit }),
        };
        let ids = [
            finding_id(&vm(None, 1, "a"), &KEY),
            finding_id(&vm(None, 1, "b"), &KEY),
            finding_id(&vm(None, 2, "a"), &KEY),
            finding_id(&vm(None, 1, "a"), &slot(0)),
            finding_id(&vm(None, 1, "a"), &slot(1)),
        ];
        let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
        assert!(ids.iter().all(|id| id.len() == 16));
    }
}
