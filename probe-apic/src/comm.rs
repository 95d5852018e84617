//! The name of a host thread, as the kernel keeps it: inline and copied whole, since every event carries one.

use std::{borrow::Cow, fmt};

/// A thread's name (`task_struct.comm`): at most 15 bytes, any of them. Hostile text: escape it before showing it.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Comm([u8; Comm::BYTES]);

impl Comm {
    /// `TASK_COMM_LEN`, the closing NUL included.
    pub const BYTES: usize = 16;

    /// From the kernel's field. It ends at its first NUL, whatever is behind that.
    #[must_use]
    pub fn new(field: [u8; Self::BYTES]) -> Self {
        let mut name = [0; Self::BYTES];
        for (kept, byte) in name.iter_mut().zip(field).take_while(|&(_, byte)| byte != 0) {
            *kept = byte;
        }
        Self(name)
    }

    /// Its bytes, up to the first NUL.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let length = self.0.iter().position(|&byte| byte == 0);
        &self.0[..length.unwrap_or(Self::BYTES)]
    }

    /// As text; bytes that are no UTF-8 are replaced.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.bytes())
    }
}

impl From<&[u8]> for Comm {
    /// From the bytes of a name; what is beyond the kernel's field is cut off.
    fn from(name: &[u8]) -> Self {
        let mut field = [0; Self::BYTES];
        for (kept, byte) in field.iter_mut().zip(name) {
            *kept = *byte;
        }
        Self::new(field)
    }
}

impl From<&str> for Comm {
    /// The name that a thread gets by asking for this one: what is beyond 15 bytes is cut off.
    fn from(name: &str) -> Self {
        let mut field = [0; Self::BYTES];
        for (kept, byte) in field.iter_mut().zip(name.bytes()).take(Self::BYTES - 1) {
            *kept = byte;
        }
        Self::new(field)
    }
}

impl fmt::Display for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl fmt::Debug for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_at_its_first_nul() {
        let comm = Comm::new(*b"CPU 3/KVM\0rest\0\0");
        assert_eq!(comm.text(), "CPU 3/KVM");
        assert_eq!(comm, Comm::from("CPU 3/KVM"));
        assert_eq!(Comm::default().text(), "");
    }

    #[test]
    fn a_name_without_a_nul_and_one_that_is_no_text_are_kept_as_they_are() {
        assert_eq!(Comm::new([b'x'; 16]).text(), "x".repeat(16));
        assert_eq!(
            Comm::new(*b"\xff\x1b[31m\0\0\0\0\0\0\0\0\0\0").text(),
            "\u{fffd}\u{1b}[31m"
        );
        assert_eq!(Comm::from("a name that is too long").text(), "a name that is ");
    }
}
