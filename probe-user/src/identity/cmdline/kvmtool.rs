//! kvmtool's options (`lkvm`, also installed as `vm`). Its `-n` is the network, not the name.

use super::{Words, value_of};
use crate::identity::text::bounded_bytes;

/// Whether that first argument is a verb that runs a VM.
pub(super) fn runs(verb: Option<&[u8]>) -> bool {
    matches!(verb, Some(b"run" | b"sandbox"))
}

/// `lkvm run --name NAME`. Without a name kvmtool takes `guest-PID`, or the name of a root directory that `-d` names;
/// whether it names a directory or an image cannot be told from here.
pub(super) fn parse<'a>(mut arguments: impl Iterator<Item = &'a [u8]>, own_pid: Option<u32>) -> Words {
    let mut words = Words::default();
    if !runs(arguments.next()) {
        return words;
    }
    let mut own = arguments.take_while(|argument| *argument != b"--");
    let mut may_be_named_by_disk = false;
    while let Some(argument) = own.next() {
        if let Some(name) = value_of(b"--name", argument, &mut own) {
            words.name = name.and_then(bounded_bytes).or(words.name);
        }
        may_be_named_by_disk |= argument.starts_with(b"-d") || argument.starts_with(b"--disk");
    }
    if !may_be_named_by_disk {
        words.name = words.name.or_else(|| own_pid.map(|pid| format!("guest-{pid}")));
    }
    words
}
