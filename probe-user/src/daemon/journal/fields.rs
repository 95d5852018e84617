//! The native protocol of journald: fields in a row, each on a line of its own, or with its length before it where its
//! value could be taken for more than one line.

/// Bytes of one value; nothing that ldrscope says is longer, but names are whatever somebody chose.
const LONGEST_VALUE: usize = 8 << 10;

/// One entry for the journal.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<u8>);

impl Fields {
    /// Adds a field; the same name may come again. Too long a value is cut.
    pub(super) fn put(&mut self, name: &'static str, value: &str) -> &mut Self {
        let value = &value[..value.floor_char_boundary(LONGEST_VALUE)];
        self.0.extend(name.as_bytes());
        if value.contains('\n') {
            let length = u64::try_from(value.len()).unwrap_or(u64::MAX);
            self.0.push(b'\n');
            self.0.extend(length.to_le_bytes());
        } else {
            self.0.push(b'=');
        }
        self.0.extend(value.as_bytes());
        self.0.push(b'\n');
        self
    }

    /// Adds a field where there is a value.
    pub(super) fn put_some(&mut self, name: &'static str, value: Option<impl ToString>) -> &mut Self {
        match value {
            Some(value) => self.put(name, &value.to_string()),
            None => self,
        }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_many_lines_cannot_forge_a_field() {
        let mut fields = Fields::default();
        fields
            .put("A", "1")
            .put("B", "x\nPRIORITY=0")
            .put_some("C", None::<u32>);
        assert_eq!(fields.into_bytes(), b"A=1\nB\n\x0c\0\0\0\0\0\0\0x\nPRIORITY=0\n");
    }

    #[test]
    fn a_long_value_is_cut_between_characters() {
        let mut fields = Fields::default();
        fields
            .put("A", &"é".repeat(1 << 20))
            .put("B", &format!("x{}", "é".repeat(1 << 20)));
        let text = String::from_utf8(fields.into_bytes()).unwrap();
        let lengths: Vec<usize> = text.lines().map(str::len).collect();
        assert_eq!(lengths, [LONGEST_VALUE + 2, LONGEST_VALUE + 1]);
    }
}
