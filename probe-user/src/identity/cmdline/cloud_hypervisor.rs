//! Cloud Hypervisor's options. It has no name for a VM, neither here nor in its API; a UUID at best.

use super::{Words, key_values::value, value_of};
use crate::identity::text::canonical_uuid;

/// `--platform system_uuid=UUID,...`, which older releases call `uuid`.
pub(super) fn parse<'a>(mut arguments: impl Iterator<Item = &'a [u8]>) -> Words {
    let mut words = Words::default();
    while let Some(argument) = arguments.next() {
        if let Some(Some(list)) = value_of(b"--platform", argument, &mut arguments) {
            words.uuid = value(list, "system_uuid")
                .or_else(|| value(list, "uuid"))
                .and_then(|text| canonical_uuid(&text))
                .or(words.uuid);
        }
    }
    words
}
