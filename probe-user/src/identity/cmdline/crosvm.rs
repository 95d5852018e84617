//! crosvm's options. A name from its configuration file shows in its comm alone.

use super::{Words, key_values::value, value_of};
use crate::identity::text::{bounded_bytes, canonical_uuid};

/// `crosvm [OPTIONS] run [OPTIONS]` with `--name NAME` and `--smbios uuid=UUID,...` after `run`.
pub(super) fn parse<'a>(arguments: impl Iterator<Item = &'a [u8]>) -> Words {
    let mut words = Words::default();
    let mut own = arguments
        .skip_while(|argument| *argument != b"run")
        .take_while(|argument| *argument != b"--");
    while let Some(argument) = own.next() {
        if let Some(name) = value_of(b"--name", argument, &mut own) {
            words.name = name.and_then(bounded_bytes).or(words.name);
        } else if let Some(Some(list)) = value_of(b"--smbios", argument, &mut own) {
            words.uuid = value(list, "uuid")
                .and_then(|text| canonical_uuid(&text))
                .or(words.uuid);
        }
    }
    words
}
