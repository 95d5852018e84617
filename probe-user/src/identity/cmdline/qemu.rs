//! QEMU's options. A `key=value,...` list doubles a comma inside a value.

use super::{Words, uuid_of};
use crate::identity::text::{bounded, canonical_uuid};

/// `-name [guest=]NAME[,...]`, `-uuid UUID`, `-smbios type=1,uuid=UUID`; QEMU takes one dash or two. The
/// last one of a kind wins, and `-uuid` over `-smbios`.
pub(super) fn parse<'a>(mut arguments: impl Iterator<Item = &'a [u8]>) -> Words {
    let mut words = Words::default();
    let mut smbios_uuid = None;
    while let Some(argument) = arguments.next() {
        match argument
            .strip_prefix(b"-")
            .map(|option| option.strip_prefix(b"-").unwrap_or(option))
        {
            Some(b"name") => {
                let options = Options::parse(arguments.next());
                words.name = options.implied_or("guest").and_then(bounded).or(words.name);
            }
            Some(b"uuid") => words.uuid = arguments.next().and_then(uuid_of).or(words.uuid),
            Some(b"smbios") => {
                let options = Options::parse(arguments.next());
                if options.get("type") == Some("1") {
                    smbios_uuid = options.get("uuid").and_then(canonical_uuid).or(smbios_uuid);
                }
            }
            _ => {}
        }
    }
    words.uuid = words.uuid.or(smbios_uuid);
    words
}

/// A `key=value,key=value` list.
struct Options {
    /// In order; a leading value without a key has the empty key.
    pairs: Vec<(String, String)>,
}

impl Options {
    fn parse(argument: Option<&[u8]>) -> Self {
        let text = String::from_utf8_lossy(argument.unwrap_or_default());
        let mut pairs = Vec::new();
        let mut item = String::new();
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            if character != ',' {
                item.push(character);
            } else if characters.next_if_eq(&',').is_some() {
                item.push(',');
            } else {
                pairs.push(Self::pair(&std::mem::take(&mut item), pairs.is_empty()));
            }
        }
        pairs.push(Self::pair(&item, pairs.is_empty()));
        Self { pairs }
    }

    /// Only the first item may leave its key out; a later one without `=` is a flag.
    fn pair(item: &str, first: bool) -> (String, String) {
        match item.split_once('=') {
            Some((key, value)) => (key.to_owned(), value.to_owned()),
            None if first => (String::new(), item.to_owned()),
            None => (item.to_owned(), String::new()),
        }
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.pairs
            .iter()
            .rev()
            .find(|(k, _)| k == key)
            .map(|(_, value)| value.as_str())
    }

    fn implied_or(&self, key: &str) -> Option<&str> {
        self.get(key).or_else(|| self.get(""))
    }
}
