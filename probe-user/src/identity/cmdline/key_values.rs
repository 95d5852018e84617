//! The `key=value,...` lists of Cloud Hypervisor and crosvm: a comma between quotes or brackets separates nothing.

use crate::identity::text::bounded;

/// The last value of `key`, without the quotes around it.
pub(super) fn value(list: &[u8], key: &str) -> Option<String> {
    let text = String::from_utf8_lossy(list);
    let (mut brackets, mut quote) = (0_usize, None);
    let separates = |character: char| {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(character),
            (None, '[') => brackets += 1,
            (None, ']') => brackets = brackets.saturating_sub(1),
            (None, ',') => return brackets == 0,
            _ => {}
        }
        false
    };
    let found = text
        .split(separates)
        .filter_map(|item| item.trim().split_once('='))
        .filter(|(name, _)| *name == key)
        .last();
    found.and_then(|(_, value)| bounded(value.trim().trim_matches(['"', '\''])))
}
