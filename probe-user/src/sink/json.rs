//! Writes one JSON document a line.
//!
//! serde_json leaves DEL, C1 controls and bidirectional characters as they are, which is valid JSON but not
//! safe to look at: they are written as `\u` escapes, so that any parser reads the same text and no
//! terminal reads a command.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

use crate::escape::is_unsafe;

/// Writes `value` and a line end.
///
/// # Errors
/// When `out` cannot be written.
pub fn write_line(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    let mut line = Vec::with_capacity(1024);
    value.serialize(&mut Serializer::with_formatter(&mut line, Harmless))?;
    line.push(b'\n');
    // One write a line: whoever reads along never sees half of one.
    out.write_all(&line)
}

/// Compact JSON without any unsafe character.
struct Harmless;

impl Formatter for Harmless {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + Write,
    {
        let mut rest = fragment;
        while let Some((at, character)) = rest.char_indices().find(|(_, c)| is_unsafe(*c)) {
            CompactFormatter.write_string_fragment(writer, &rest[..at])?;
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &rest[at + character.len_utf8()..];
        }
        CompactFormatter.write_string_fragment(writer, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_survives_the_round_trip_without_a_raw_control() {
        let hostile = "a\x1b[31m\"\\\r\n\u{7f}\u{9b}\u{202e}\u{e0041}é";
        let mut out = Vec::new();
        write_line(&mut out, &hostile).unwrap();
        assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), hostile);
        let line = String::from_utf8(out).unwrap();
        assert!(!line.trim_end_matches('\n').chars().any(is_unsafe), "{line}");
        assert!(line.contains("\\u202e\\udb40\\udc41é"));
    }
}
