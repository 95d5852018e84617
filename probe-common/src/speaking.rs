//! Which of a hook's two programs are to speak, where both are attached.

use crate::{assert_size, record};

record! {
/// Written by userspace in place, word by word; read by every hook that there is twice. While programs are exchanged both words
/// are 1 for a moment, so that no event falls between them; one that is told twice changes nothing.
pub struct Speaking {
    /// 1 where the kprobes speak.
    pub kprobes: u32,
    /// 1 where the fentry programs speak.
    pub fentries: u32,
}
}
assert_size!(Speaking, 8);
