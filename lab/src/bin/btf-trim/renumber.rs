//! The selection as BTF of its own: ids without gaps, only the strings in use, every pointer a `void *`.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use crate::{
    format::{Blob, Role, Type, kind},
    selection::Types,
};

/// Id of the one pointer, the base's first type.
const VOID_POINTER: u32 = 1;

/// Both halves of the result.
#[derive(Debug)]
pub(crate) struct Trimmed {
    /// The kernel's half.
    pub(crate) base: Blob,
    /// The module's half, where there is one.
    pub(crate) split: Option<Blob>,
}

/// Trims a base and the split BTF on top of it.
pub(crate) fn trim(base: &Blob, split: Option<&Blob>) -> Result<Trimmed> {
    let both = || [Some(base), split].into_iter().flatten();
    let types = Types {
        all: both().flat_map(|blob| &blob.types).collect(),
        strings: both().flat_map(|blob| blob.strings.iter().copied()).collect(),
    };
    let kept = types.selection();
    ensure!(
        !kept.is_empty(),
        "none of the structures is there: is KVM missing?"
    );
    let ids = kept.iter().copied().zip(VOID_POINTER + 1..).collect();
    // A base begins with the empty string, a split part does not.
    let mut numbering = Numbering {
        types: &types,
        ids,
        strings: vec![0],
        offsets: BTreeMap::from([(Vec::new(), 0)]),
    };

    let last_of_base = base.types.len() as u32;
    let mut base_types = vec![Type::void_pointer()];
    base_types.extend(numbering.rewrite(kept.range(..=last_of_base)));
    let end_of_base = numbering.strings.len();
    let split_types = numbering.rewrite(kept.range(last_of_base + 1..));
    let split_strings = numbering.strings.split_off(end_of_base);
    Ok(Trimmed {
        base: Blob {
            types: base_types,
            strings: numbering.strings,
        },
        split: split.map(|_| Blob {
            types: split_types,
            strings: split_strings,
        }),
    })
}

/// Old numbers to new ones.
struct Numbering<'a> {
    types: &'a Types<'a>,
    ids: BTreeMap<u32, u32>,
    /// The strings used so far, of both halves: the split one may name the base's, as in the kernel's own BTF.
    strings: Vec<u8>,
    /// Where each of them lies.
    offsets: BTreeMap<Vec<u8>, u32>,
}

impl Numbering<'_> {
    fn rewrite<'i>(&mut self, kept: impl Iterator<Item = &'i u32>) -> Vec<Type> {
        let found = kept.filter_map(|&id| self.types.get(id)).collect::<Vec<_>>();
        found.into_iter().map(|one| self.rewrite_one(one)).collect()
    }

    fn rewrite_one(&mut self, found: &Type) -> Type {
        let words = found.fields().map(|(role, word)| match role {
            Role::Name => self.string(word),
            Role::TypeId => self.id(word),
            Role::Plain => word,
        });
        Type {
            words: words.collect(),
        }
    }

    /// Void stays void, and so does what no structure can hold, such as a function's type.
    fn id(&self, old: u32) -> u32 {
        if self.types.get(old).is_some_and(|found| found.kind() == kind::PTR) {
            return VOID_POINTER;
        }
        self.ids.get(&old).copied().unwrap_or(0)
    }

    fn string(&mut self, old: u32) -> u32 {
        let text = self.types.string(old);
        if let Some(&offset) = self.offsets.get(text) {
            return offset;
        }
        let offset = self.strings.len() as u32;
        self.strings.extend_from_slice(text);
        self.strings.push(0);
        self.offsets.insert(text.to_vec(), offset);
        offset
    }
}
