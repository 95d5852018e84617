//! What is kept of hostile text: valid UTF-8 of a bounded length, and UUIDs in one spelling.
//!
//! Nothing is escaped here: how a control character is shown is for the output to decide.

/// The longest text kept, in bytes: longer than any VMM's own limit for a name, short enough for a line of output.
pub const MAX_TEXT: usize = 255;

/// At most [`MAX_TEXT`] bytes of `text`, cut between characters; `None` for the empty one.
#[must_use]
pub fn bounded(text: &str) -> Option<String> {
    let end = text.floor_char_boundary(MAX_TEXT);
    (end > 0).then(|| text[..end].to_owned())
}

/// The same of bytes, those that are no UTF-8 replaced.
#[must_use]
pub fn bounded_bytes(bytes: &[u8]) -> Option<String> {
    // Replacing makes text longer, never shorter: a character more than is kept is enough to cut between characters.
    const ENOUGH: usize = MAX_TEXT + 4;
    bounded(&String::from_utf8_lossy(&bytes[..bytes.len().min(ENOUGH)]))
}

/// Lower case with dashes at the usual places; `None` for anything else, and for the nil UUID, by which
/// VMMs mean "none".
#[must_use]
pub fn canonical_uuid(text: &str) -> Option<String> {
    let digits: Vec<u8> = text.bytes().take(37).filter(|byte| *byte != b'-').collect();
    let dashes_in_place = text.len() == 32
        || (text.len() == 36
            && text
                .bytes()
                .enumerate()
                .all(|(i, b)| (b == b'-') == matches!(i, 8 | 13 | 18 | 23)));
    let is_uuid = digits.len() == 32 && dashes_in_place && digits.iter().all(u8::is_ascii_hexdigit);
    if !is_uuid || digits.iter().all(|digit| *digit == b'0') {
        return None;
    }
    let mut uuid = String::with_capacity(36);
    for (i, digit) in digits.iter().enumerate() {
        if matches!(i, 8 | 12 | 16 | 20) {
            uuid.push('-');
        }
        uuid.push(char::from(digit.to_ascii_lowercase()));
    }
    Some(uuid)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UUID: &str = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";

    #[test]
    fn uuids_become_canonical_and_odd_ones_are_none() {
        assert_eq!(canonical_uuid(&UUID.to_uppercase()).as_deref(), Some(UUID));
        assert_eq!(canonical_uuid(&UUID.replace('-', "")).as_deref(), Some(UUID));
        for odd in [
            "",
            "x",
            "0a1b2c3d4-e5f-6071-8293-a4b5c6d7e8f9",
            "00000000-0000-0000-0000-000000000000",
            "ä",
        ] {
            assert_eq!(canonical_uuid(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_cut_falls_between_characters() {
        let long = format!("a{}", "€".repeat(200));
        let kept = bounded_bytes(long.as_bytes()).unwrap();
        assert_eq!(kept.len(), 253);
        assert!(long.starts_with(&kept));
        assert_eq!(bounded_bytes(b"").as_deref(), None);
        assert_eq!(bounded_bytes(b"\xff").as_deref(), Some("\u{fffd}"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_kept_as_bounded_text(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let kept = bounded_bytes(&bytes);
            prop_assert_eq!(kept.is_none(), bytes.is_empty());
            prop_assert!(kept.is_none_or(|text| text.len() <= MAX_TEXT));
        }
    }
}
