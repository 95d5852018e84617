//! Numbers and texts as bytes: what all entries are made of.
//!
//! Numbers are little-endian, or of variable length (LEB128: seven bits a byte, the lowest first, bit 7 set in all bytes
//! but the last); signed ones of variable length are folded, so that small ones of either sign are short.

/// The bytes are not what the format says; the text says what was being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The difference `to - from`, whatever the two are.
pub(crate) fn put_difference(out: &mut Vec<u8>, to: u64, from: u64) {
    let difference = to.wrapping_sub(from).cast_signed();
    put_varint(out, ((difference << 1) ^ (difference >> 63)).cast_unsigned());
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// A length or a number of elements; `usize` has at most 64 bits everywhere.
pub(crate) fn put_count(out: &mut Vec<u8>, count: usize) {
    put_varint(out, count as u64);
}

pub(crate) fn put_option<T>(out: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put(out, value);
    }
}

/// What is left to read of a frame's content.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(content: &'a [u8]) -> Self {
        Self { rest: content }
    }

    pub(crate) const fn left(&self) -> usize {
        self.rest.len()
    }

    pub(crate) const fn byte(&mut self, what: &'static str) -> Result<u8, Malformed> {
        match self.rest {
            [first, rest @ ..] => {
                self.rest = rest;
                Ok(*first)
            }
            [] => Err(Malformed(what)),
        }
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(Malformed(what))?;
        self.rest = rest;
        Ok(*array)
    }

    pub(crate) fn fixed_u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(crate) fn fixed_u64(&mut self, what: &'static str) -> Result<u64, Malformed> {
        self.array(what).map(u64::from_le_bytes)
    }

    pub(crate) fn varint(&mut self, what: &'static str) -> Result<u64, Malformed> {
        let mut value = 0;
        for (at, byte) in self.rest.iter().enumerate().take(10) {
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if at == 9 && *byte > 1 {
                break;
            }
            value |= bits << (7 * at);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[at + 1..];
                return Ok(value);
            }
        }
        Err(Malformed(what))
    }

    pub(crate) fn varint_u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        u32::try_from(self.varint(what)?).map_err(|_| Malformed(what))
    }

    /// The number of which [`put_difference`] wrote the difference to `from`.
    pub(crate) fn difference(&mut self, from: u64, what: &'static str) -> Result<u64, Malformed> {
        let folded = self.varint(what)?;
        let difference = (folded >> 1) ^ (folded & 1).wrapping_neg();
        Ok(from.wrapping_add(difference))
    }

    pub(crate) fn text(&mut self, what: &'static str) -> Result<&'a str, Malformed> {
        str::from_utf8(self.bytes(what)?).map_err(|_| Malformed(what))
    }

    pub(crate) fn bytes(&mut self, what: &'static str) -> Result<&'a [u8], Malformed> {
        let length = self.count(1, what)?;
        let (bytes, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(bytes)
    }

    /// A number of elements of at least `smallest` bytes each: never more than what is left can hold.
    pub(crate) fn count(&mut self, smallest: usize, what: &'static str) -> Result<usize, Malformed> {
        let count = usize::try_from(self.varint(what)?).map_err(|_| Malformed(what))?;
        let fits = count
            .checked_mul(smallest)
            .is_some_and(|bytes| bytes <= self.rest.len());
        if fits { Ok(count) } else { Err(Malformed(what)) }
    }

    pub(crate) fn flag(&mut self, what: &'static str) -> Result<bool, Malformed> {
        match self.byte(what)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed(what)),
        }
    }

    pub(crate) fn option<T>(
        &mut self,
        what: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        if self.flag(what)? {
            read(self).map(Some)
        } else {
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_all_sizes_come_back() {
        let powers = (0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit, u64::MAX >> bit]);
        for value in powers {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            put_difference(&mut bytes, value, 1 << 40);
            let mut cursor = Cursor::new(&bytes);
            assert_eq!(cursor.varint(""), Ok(value));
            assert_eq!(cursor.difference(1 << 40, ""), Ok(value));
            assert_eq!(cursor.left(), 0);
        }
    }

    #[test]
    fn small_differences_are_short_either_way() {
        for to in [999_937, 1_000_063] {
            let mut bytes = Vec::new();
            put_difference(&mut bytes, to, 1_000_000);
            assert_eq!(bytes.len(), 1, "{to}");
        }
    }

    #[test]
    fn numbers_that_do_not_end_or_do_not_fit_are_refused() {
        for bytes in [
            &[0x80; 9][..],
            &[0xff; 11],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
            &[],
        ] {
            assert_eq!(Cursor::new(bytes).varint("n"), Err(Malformed("n")), "{bytes:?}");
        }
        assert_eq!(
            Cursor::new(&[0xff, 0xff, 0xff, 0xff, 0x1f]).varint_u32("n"),
            Err(Malformed("n"))
        );
    }

    #[test]
    fn a_count_that_cannot_be_there_is_refused_before_room_is_made() {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, 1 << 60);
        bytes.extend([0; 20]);
        assert_eq!(Cursor::new(&bytes).count(4, "n"), Err(Malformed("n")));
        assert_eq!(Cursor::new(&bytes).text("n"), Err(Malformed("n")));
        let mut bytes = vec![5];
        bytes.extend([0; 20]);
        assert_eq!(Cursor::new(&bytes).count(4, "n"), Ok(5));
    }
}
