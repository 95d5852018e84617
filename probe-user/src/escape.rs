//! Makes text that a guest or an operator chose safe for terminals and pages.
//!
//! Names and comms are hostile: they may hold escape sequences, line ends that forge a line, or characters
//! that reorder what is read. Such characters are shown by their code; everything else stays as it is.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Escapes controls (C0, DEL, C1), line and paragraph separators, and invisible or bidirectional
/// formatting characters, so that the text is one harmless run of one line.
#[must_use]
pub fn escape_line(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_unsafe(character) {
            // Writing to a String cannot fail.
            let _ = match u32::from(character) {
                code @ 0..=0xff => write!(escaped, "\\x{code:02x}"),
                code => write!(escaped, "\\u{{{code:x}}}"),
            };
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

/// True for characters that must not reach a terminal raw.
#[must_use]
pub const fn is_unsafe(character: char) -> bool {
    matches!(character,
        '\0'..='\x1f' | '\x7f'..='\u{9f}'              // C0, DEL, C1
        | '\u{ad}' | '\u{61c}' | '\u{180e}'            // soft hyphen, Arabic letter mark, Mongolian separator
        | '\u{200b}'..='\u{200f}'                      // zero width, direction marks
        | '\u{2028}'..='\u{202e}'                      // separators, bidirectional embeddings and overrides
        | '\u{2060}'..='\u{206f}'                      // invisible operators, bidirectional isolates
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}'         // byte order mark, interlinear annotation
        | '\u{e0000}'..='\u{e007f}') // tags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_is_borrowed_as_it_is() {
        assert!(matches!(
            escape_line("web-1 (größe) 東京"),
            Cow::Borrowed("web-1 (größe) 東京")
        ));
    }

    #[test]
    fn terminal_and_bidirectional_controls_are_shown_by_code() {
        assert_eq!(
            escape_line("\x1b[2Ja\r\nb\u{9b}31m\u{202e}c\x7f"),
            "\\x1b[2Ja\\x0d\\x0ab\\x9b31m\\u{202e}c\\x7f"
        );
    }
}
