//! BTF as bytes (Documentation/bpf/btf.rst): the header, the type section as words, the string section.
//!
//! Knows which words of a type are names and which are other types' ids, and nothing about what they mean.

use anyhow::{Context as _, Result, bail, ensure};

/// `BTF_KIND_*` of include/uapi/linux/btf.h.
pub(crate) mod kind {
    pub(crate) const INT: u32 = 1;
    pub(crate) const PTR: u32 = 2;
    pub(crate) const ARRAY: u32 = 3;
    pub(crate) const STRUCT: u32 = 4;
    pub(crate) const UNION: u32 = 5;
    pub(crate) const ENUM: u32 = 6;
    pub(crate) const FWD: u32 = 7;
    pub(crate) const TYPEDEF: u32 = 8;
    pub(crate) const VOLATILE: u32 = 9;
    pub(crate) const CONST: u32 = 10;
    pub(crate) const RESTRICT: u32 = 11;
    pub(crate) const FUNC: u32 = 12;
    pub(crate) const FUNC_PROTO: u32 = 13;
    pub(crate) const VAR: u32 = 14;
    pub(crate) const DATASEC: u32 = 15;
    pub(crate) const FLOAT: u32 = 16;
    pub(crate) const DECL_TAG: u32 = 17;
    pub(crate) const TYPE_TAG: u32 = 18;
    pub(crate) const ENUM64: u32 = 19;
}

/// Magic 0xEB9F, version 1, no flags: the header's first word.
const MAGIC_VERSION_FLAGS: u32 = 0x0001_EB9F;
const HEADER_BYTES: usize = 24;
/// Words of a type before its tail: name, info, size or type.
const HEAD_WORDS: usize = 3;

/// What a word of a type stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Offset of a string.
    Name,
    /// Id of another type, 0 for void.
    TypeId,
    /// Anything else: a size, an offset, a value.
    Plain,
}

/// One type, word for word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Type {
    /// Name, info, size or type id; then the tail that the kind prescribes.
    pub(crate) words: Vec<u32>,
}

impl Type {
    /// `void *`.
    pub(crate) fn void_pointer() -> Self {
        Self {
            words: vec![0, kind::PTR << 24, 0],
        }
    }

    /// One of [`kind`].
    pub(crate) fn kind(&self) -> u32 {
        kind_of(self.words[1])
    }

    /// Every word with its role.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (Role, u32)> {
        let kind = self.kind();
        self.words
            .iter()
            .enumerate()
            .map(move |(index, &word)| (role(kind, index), word))
    }
}

/// One BTF: a base, or a split one whose ids and string offsets continue a base's.
#[derive(Debug, Default)]
pub(crate) struct Blob {
    /// The type section, in the order of ids.
    pub(crate) types: Vec<Type>,
    /// The string section.
    pub(crate) strings: Vec<u8>,
}

impl Blob {
    /// Takes the sections apart.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let header = words(bytes.get(..HEADER_BYTES).context("the header is cut short")?);
        ensure!(
            header[0] == MAGIC_VERSION_FLAGS,
            "the header begins with {:#010x}",
            header[0]
        );
        let section = |offset: u32, length: u32| {
            let from = header[1] as usize + offset as usize;
            bytes
                .get(from..from + length as usize)
                .context("a section is cut short")
        };
        let types = words(section(header[2], header[3])?);
        let strings = section(header[4], header[5])?.to_vec();
        Ok(Self {
            types: split_types(&types)?,
            strings,
        })
    }

    /// Puts the sections together again.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let types: Vec<u32> = self.types.iter().flat_map(|one| one.words.clone()).collect();
        let type_bytes = types.len() as u32 * 4;
        let header = [
            MAGIC_VERSION_FLAGS,
            HEADER_BYTES as u32,
            0,
            type_bytes,
            type_bytes,
            self.strings.len() as u32,
        ];
        let numbers = header.into_iter().chain(types).flat_map(u32::to_le_bytes);
        numbers.chain(self.strings.iter().copied()).collect()
    }
}

fn words(bytes: &[u8]) -> Vec<u32> {
    let (fours, _) = bytes.as_chunks::<4>();
    fours.iter().map(|&four| u32::from_le_bytes(four)).collect()
}

fn kind_of(info: u32) -> u32 {
    info >> 24 & 0x7f
}

fn count_of(info: u32) -> usize {
    (info & 0x00ff_ffff) as usize
}

fn split_types(mut rest: &[u32]) -> Result<Vec<Type>> {
    let mut types = Vec::new();
    while let Some(&info) = rest.get(1) {
        let length = HEAD_WORDS + tail_words(kind_of(info), count_of(info))?;
        let (words, after) = rest.split_at_checked(length).context("a type is cut short")?;
        types.push(Type {
            words: words.to_vec(),
        });
        rest = after;
    }
    ensure!(rest.is_empty(), "the last type is cut short");
    Ok(types)
}

fn tail_words(kind: u32, count: usize) -> Result<usize> {
    Ok(match kind {
        kind::PTR | kind::FWD | kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT => 0,
        kind::FUNC | kind::FLOAT | kind::TYPE_TAG => 0,
        kind::INT | kind::VAR | kind::DECL_TAG => 1,
        kind::ARRAY => 3,
        kind::ENUM | kind::FUNC_PROTO => 2 * count,
        kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 3 * count,
        unknown => bail!("there is a type of kind {unknown}, which is not known"),
    })
}

/// Of the kinds that can be part of a structure; nothing else is ever kept.
fn role(kind: u32, index: usize) -> Role {
    let Some(index) = index.checked_sub(HEAD_WORDS) else {
        let refers = matches!(
            kind,
            kind::PTR | kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG
        );
        return match index {
            0 => Role::Name,
            2 if refers => Role::TypeId,
            _ => Role::Plain,
        };
    };
    match (kind, index % 3) {
        (kind::STRUCT | kind::UNION | kind::ENUM64, 0) => Role::Name,
        (kind::STRUCT | kind::UNION, 1) | (kind::ARRAY, 0 | 1) => Role::TypeId,
        (kind::ENUM, _) if index % 2 == 0 => Role::Name,
        _ => Role::Plain,
    }
}
