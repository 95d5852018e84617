//! A reader of BTF, the kernel's own type information: enough of it to find where a member of a structure
//! lies and what an enum's values are called.
//!
//! A module's BTF is split: it continues the type ids and string offsets of the base (vmlinux), so both are
//! laid end to end here and read as one. Format: Documentation/bpf/btf.rst. What to look for is
//! [`super::layout`]'s business. The bytes are not trusted: a reference that leads nowhere is an error.

use std::collections::BTreeMap;

use memchr::memmem;
use thiserror::Error;

/// Why BTF could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BtfError {
    /// The header is not BTF's, or of another byte order or version.
    #[error("it does not begin with a BTF header of this machine's byte order")]
    Header,
    /// A section or a type reaches past the end.
    #[error("it is cut short or damaged at byte {0} of the type section")]
    Truncated(usize),
    /// A type of an unknown kind: its length cannot be known either.
    #[error("type {id} is of kind {kind}, which this ldrscope does not know")]
    Kind {
        /// The type's id.
        id: u32,
        /// Its kind.
        kind: u32,
    },
}

/// A type's number, 0 for void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TypeId(u32);

/// Where a member lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Bytes from the start of the outermost structure.
    pub offset: u32,
    /// The member's own type.
    pub type_id: TypeId,
}

/// Parsed BTF: one type section and one string section, borrowed.
#[derive(Debug)]
pub struct Btf<'a> {
    parts: Vec<Part<'a>>,
    /// Position of every type: part in the top bit, byte offset below. Index 0 is type id 1.
    types: Vec<u32>,
    /// The few types that are asked for by their name, one in ten: structures and enums that say what they hold.
    named: Vec<TypeId>,
}

#[derive(Clone, Copy, Debug)]
struct Part<'a> {
    types: &'a [u8],
    strings: &'a [u8],
}

const MAGIC: u16 = 0xEB9F;
const SPLIT_BIT: u32 = 1 << 31;

/// Kinds of BTF types (`BTF_KIND_*`, include/uapi/linux/btf.h).
mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const PTR: u32 = 2;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const FWD: u32 = 7;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const VOLATILE: u32 = 9;
    pub(super) const CONST: u32 = 10;
    pub(super) const RESTRICT: u32 = 11;
    pub(super) const FUNC: u32 = 12;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const FLOAT: u32 = 16;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const TYPE_TAG: u32 = 18;
    pub(super) const ENUM64: u32 = 19;
}

/// One type's header, and where its trailing data begins.
#[derive(Clone, Copy)]
struct Type<'a> {
    name: u32,
    info: u32,
    size_or_type: u32,
    tail: &'a [u8],
}

/// Newer kernels give the kind 7 bits, older ones 5 and leave the others 0.
const fn kind_of(info: u32) -> u32 {
    (info >> 24) & 0x7f
}

/// Newer kernels give the count 24 bits, older ones 16 and leave the others 0.
const fn vlen_of(info: u32) -> usize {
    (info & 0x00ff_ffff) as usize
}

impl Type<'_> {
    const fn kind(&self) -> u32 {
        kind_of(self.info)
    }

    const fn vlen(&self) -> usize {
        vlen_of(self.info)
    }

    const fn kind_flag(&self) -> bool {
        self.info >> 31 == 1
    }

    fn word(&self, index: usize) -> Option<u32> {
        word(self.tail, index * 4)
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(four.try_into().ok()?))
}

/// Length of what follows a type's header of 12 bytes.
fn tail_bytes(kind: u32, vlen: usize) -> Option<usize> {
    Some(match kind {
        kind::INT | kind::VAR | kind::DECL_TAG => 4,
        kind::PTR | kind::FWD | kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT => 0,
        kind::FUNC | kind::FLOAT | kind::TYPE_TAG => 0,
        kind::ARRAY => 12,
        kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 12 * vlen,
        kind::ENUM | kind::FUNC_PROTO => 8 * vlen,
        _ => return None,
    })
}

impl<'a> Part<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, BtfError> {
        let header = |at| word(bytes, at).map(|w| w as usize).ok_or(BtfError::Header);
        let magic_and_version = header(0)?;
        if magic_and_version & 0xff_ffff != usize::from(MAGIC) | 1 << 16 {
            return Err(BtfError::Header);
        }
        let header_len = header(4)?;
        let section = |offset: usize, length: usize| {
            let from = header_len.checked_add(offset).ok_or(BtfError::Header)?;
            let to = from.checked_add(length).ok_or(BtfError::Header)?;
            bytes.get(from..to).ok_or(BtfError::Truncated(bytes.len()))
        };
        Ok(Self {
            types: section(header(8)?, header(12)?)?,
            strings: section(header(16)?, header(20)?)?,
        })
    }
}

impl<'a> Btf<'a> {
    /// Parses a base and, on top of it, a module's split BTF.
    ///
    /// # Errors
    ///
    /// Where the bytes are no BTF, are cut short, or hold a type of an unknown kind.
    pub fn parse(base: &'a [u8], split: Option<&'a [u8]>) -> Result<Self, BtfError> {
        let mut btf = Self {
            parts: Vec::with_capacity(2),
            types: Vec::new(),
            named: Vec::new(),
        };
        btf.append(base, 0)?;
        if let Some(split) = split {
            btf.append(split, SPLIT_BIT)?;
        }
        Ok(btf)
    }

    /// Whether `bytes` stand for themselves, rather than continue a base: the strings of a split BTF go on where
    /// the base's end, so that only a BTF of its own begins them with the empty string.
    ///
    /// # Errors
    ///
    /// Where the bytes are no BTF or are cut short.
    pub fn stands_alone(bytes: &[u8]) -> Result<bool, BtfError> {
        Ok(Part::parse(bytes)?.strings.first() == Some(&0))
    }

    fn append(&mut self, bytes: &'a [u8], tag: u32) -> Result<(), BtfError> {
        let part = Part::parse(bytes)?;
        let mut at = 0;
        while at < part.types.len() {
            let info = word(part.types, at + 4).ok_or(BtfError::Truncated(at))?;
            let (kind, vlen) = (kind_of(info), vlen_of(info));
            let id = self.types.len() as u32 + 1;
            let tail = tail_bytes(kind, vlen).ok_or(BtfError::Kind { id, kind })?;
            let end = at + 12 + tail;
            if end > part.types.len() {
                return Err(BtfError::Truncated(at));
            }
            if vlen > 0 && matches!(kind, kind::STRUCT | kind::ENUM | kind::ENUM64) {
                self.named.push(TypeId(id));
            }
            self.types.push(at as u32 | tag);
            at = end;
        }
        self.parts.push(part);
        Ok(())
    }

    fn get(&self, id: TypeId) -> Option<Type<'a>> {
        let position = *self.types.get((id.0 as usize).checked_sub(1)?)?;
        let part = self.parts.get((position >> 31) as usize)?;
        let bytes = part.types.get((position & !SPLIT_BIT) as usize..)?;
        Some(Type {
            name: word(bytes, 0)?,
            info: word(bytes, 4)?,
            size_or_type: word(bytes, 8)?,
            tail: bytes.get(12..)?,
        })
    }

    /// The bytes of a string, without its NUL. Strings of the split part continue the base's offsets.
    fn string(&self, offset: u32) -> Option<&'a [u8]> {
        let mut offset = offset as usize;
        for part in &self.parts {
            if let Some(rest) = part.strings.get(offset..).filter(|rest| !rest.is_empty()) {
                return rest.split(|&byte| byte == 0).next();
            }
            offset = offset.checked_sub(part.strings.len())?;
        }
        None
    }

    /// Where `name` stands among the strings, ascending: once in each part, and wherever a longer string ends with it.
    /// Comparing a type's own offset with these is much cheaper than reading every type's name.
    fn places(&self, name: &str) -> Vec<u32> {
        let terminated = [name.as_bytes(), b"\0"].concat();
        let finder = memmem::Finder::new(&terminated);
        let mut places = Vec::new();
        let mut before = 0;
        for part in &self.parts {
            places.extend(finder.find_iter(part.strings).map(|at| (before + at) as u32));
            before += part.strings.len();
        }
        places
    }

    fn named(&self, name: &str, kinds: &[u32]) -> impl Iterator<Item = (TypeId, Type<'a>)> {
        let places = self.places(name);
        self.named.iter().filter_map(move |&id| {
            let found = self.get(id)?;
            let matches = kinds.contains(&found.kind()) && places.binary_search(&found.name).is_ok();
            matches.then_some((id, found))
        })
    }

    /// The type ids of those functions of `wanted` that are described in the topmost part: a module's own, where there is
    /// one. A name that several functions have is left out: which one is meant no type tells.
    #[must_use]
    pub fn function_ids(&self, wanted: &[&'static str]) -> BTreeMap<&'static str, u32> {
        let top = if self.parts.len() > 1 { SPLIT_BIT } else { 0 };
        let mut found = BTreeMap::new();
        let mut ambiguous = Vec::new();
        let ids = (1u32..)
            .zip(&self.types)
            .filter(|(_, position)| **position & SPLIT_BIT == top);
        for (id, _) in ids {
            let Some(function) = self.get(TypeId(id)).filter(|found| found.kind() == kind::FUNC) else {
                continue;
            };
            let Some(text) = self.string(function.name) else {
                continue;
            };
            if let Some(&name) = wanted.iter().find(|name| name.as_bytes() == text)
                && found.insert(name, id).is_some()
            {
                ambiguous.push(name);
            }
        }
        found.retain(|name, _| !ambiguous.contains(name));
        found
    }

    /// All structures of that name that have members: a merged BTF may hold several.
    #[must_use]
    pub fn structs(&self, name: &str) -> Vec<TypeId> {
        self.named(name, &[kind::STRUCT]).map(|(id, _)| id).collect()
    }

    /// Finds a member by a dotted path, such as `arch.apic_map`, looking through anonymous structures and
    /// unions on every step.
    #[must_use]
    pub fn member(&self, outer: TypeId, path: &str) -> Option<Member> {
        // Far more than any real structure has; in a damaged BTF anonymous members may branch without end.
        let mut budget = 65_536;
        path.split('.').try_fold(
            Member {
                offset: 0,
                type_id: outer,
            },
            |at, name| {
                let inner = self.direct_member(self.resolve(at.type_id)?, name, 0, &mut budget)?;
                Some(Member {
                    offset: at.offset.checked_add(inner.offset)?,
                    ..inner
                })
            },
        )
    }

    /// `budget` is the number of members that may still be looked at.
    fn direct_member(&self, outer: TypeId, name: &str, depth: u32, budget: &mut u32) -> Option<Member> {
        // Deeper nesting of anonymous members does not occur; a damaged BTF may loop.
        const MAX_DEPTH: u32 = 16;
        let found = self.get(outer)?;
        if !matches!(found.kind(), kind::STRUCT | kind::UNION) || depth > MAX_DEPTH {
            return None;
        }
        for index in 0..found.vlen() {
            *budget = budget.checked_sub(1)?;
            let member_name = self.string(found.word(index * 3)?)?;
            let type_id = TypeId(found.word(index * 3 + 1)?);
            let raw = found.word(index * 3 + 2)?;
            // With the kind flag the top byte is a bitfield's width.
            let bits = if found.kind_flag() { raw & 0x00ff_ffff } else { raw };
            let offset = bits / 8;
            if member_name == name.as_bytes() {
                return Some(Member { offset, type_id });
            }
            if member_name.is_empty() {
                let inner = self
                    .resolve(type_id)
                    .and_then(|inner| self.direct_member(inner, name, depth + 1, budget));
                if let Some(inner) = inner {
                    return Some(Member {
                        offset: offset.checked_add(inner.offset)?,
                        ..inner
                    });
                }
            }
        }
        None
    }

    /// Looks through typedefs and qualifiers.
    fn resolve(&self, mut id: TypeId) -> Option<TypeId> {
        const MAX_STEPS: u32 = 32;
        for _ in 0..MAX_STEPS {
            let found = self.get(id)?;
            match found.kind() {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    id = TypeId(found.size_or_type);
                }
                _ => return Some(id),
            }
        }
        None
    }

    /// Size in bytes of a type that has one; arrays and pointers included.
    #[must_use]
    pub fn size(&self, id: TypeId) -> Option<u32> {
        self.size_within(id, 0)
    }

    fn size_within(&self, id: TypeId, depth: u32) -> Option<u32> {
        const POINTER: u32 = 8;
        const MAX_DEPTH: u32 = 16;
        if depth > MAX_DEPTH {
            return None;
        }
        let found = self.get(self.resolve(id)?)?;
        match found.kind() {
            kind::INT | kind::STRUCT | kind::UNION | kind::ENUM | kind::ENUM64 | kind::FLOAT => {
                Some(found.size_or_type)
            }
            kind::PTR => Some(POINTER),
            kind::ARRAY => {
                let element = self.size_within(TypeId(found.word(0)?), depth + 1)?;
                element.checked_mul(found.word(2)?)
            }
            _ => None,
        }
    }

    /// Names and values of an enum; empty where there is none of that name.
    #[must_use]
    pub fn enumerators(&self, name: &str) -> Vec<(String, u64)> {
        let Some((_, found)) = self.named(name, &[kind::ENUM, kind::ENUM64]).next() else {
            return Vec::new();
        };
        let words = if found.kind() == kind::ENUM { 2 } else { 3 };
        (0..found.vlen())
            .filter_map(|index| {
                let text = self.string(found.word(index * words)?)?;
                let low = u64::from(found.word(index * words + 1)?);
                let high = if words == 3 {
                    u64::from(found.word(index * words + 2)?)
                } else {
                    0
                };
                Some((String::from_utf8_lossy(text).into_owned(), high << 32 | low))
            })
            .collect()
    }
}

#[cfg(test)]
pub(super) mod fixture;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
