//! Firecracker's options. Its jailer passes `--id` on.

use super::{Words, value_of};
use crate::identity::text::bounded_bytes;

/// `--id ID` or `--id=ID`; arguments after `--` are not Firecracker's own.
pub(super) fn parse<'a>(arguments: impl Iterator<Item = &'a [u8]>) -> Words {
    let mut words = Words::default();
    let mut own = arguments.take_while(|argument| *argument != b"--");
    while let Some(argument) = own.next() {
        if let Some(id) = value_of(b"--id", argument, &mut own) {
            words.name = id.and_then(bounded_bytes).or(words.name);
        }
    }
    words
}
