//! The reader against BTF of random types, encoded here, and against words without sense.

use std::collections::HashMap;

use proptest::{collection::vec, prelude::*, test_runner::RngSeed};

use super::{
    fixture::{kernel, synthetic},
    *,
};

/// A type that refers to earlier ones alone, by their place in the list.
#[derive(Clone, Debug)]
enum Model {
    Int {
        bytes: u32,
    },
    Pointer,
    Array {
        of: usize,
        count: u32,
    },
    Typedef {
        of: usize,
    },
    Const {
        of: usize,
    },
    Composite {
        kind: u32,
        bytes: u32,
        bit_fields: bool,
        members: Vec<Field>,
    },
    Enum {
        wide: bool,
        values: Vec<u64>,
    },
}

#[derive(Clone, Debug)]
struct Field {
    /// Looked through where it has none.
    name: Option<String>,
    of: usize,
    bits: u32,
}

/// Raw material of a [`Model`]: its kind, two numbers, and per member another two and whether it goes unnamed.
type Seed = (u8, u32, u32, Vec<(usize, u32, bool)>);

fn any_models() -> impl Strategy<Value = Vec<Model>> {
    let members = vec((any::<usize>(), 0_u32..1 << 20, any::<bool>()), 0..5);
    let seed = (0_u8..12, 0_u32..5000, any::<u32>(), members);
    vec(seed, 1..14).prop_map(|seeds| {
        let mut models = Vec::new();
        for seed in seeds {
            models.push(model(seed, &models));
        }
        models
    })
}

fn model((kind, small, large, members): Seed, earlier: &[Model]) -> Model {
    let place = |number: u32| number as usize % earlier.len();
    match kind {
        // Nothing earlier to refer to.
        _ if earlier.is_empty() => Model::Int { bytes: small },
        0 => Model::Int { bytes: small },
        1 => Model::Pointer,
        2 => Model::Array {
            of: place(large),
            count: small,
        },
        3 => Model::Typedef { of: place(large) },
        4 => Model::Const { of: place(large) },
        5 => Model::Enum {
            wide: large & 1 == 1,
            values: members.iter().map(|&(value, ..)| value as u64).collect(),
        },
        _ => Model::Composite {
            kind: if kind == 6 { kind::UNION } else { kind::STRUCT },
            bytes: small,
            bit_fields: large & 1 == 1,
            members: fields(earlier, members),
        },
    }
}

/// At most one member of a structure goes unnamed: two of them branch faster than the reader follows.
fn fields(earlier: &[Model], members: Vec<(usize, u32, bool)>) -> Vec<Field> {
    let (mut fields, mut unnamed_yet) = (Vec::new(), false);
    for (number, (of, bits, unnamed)) in members.into_iter().enumerate() {
        let of = of % earlier.len();
        let unnamed = unnamed && !unnamed_yet && is_composite(earlier, of);
        unnamed_yet |= unnamed;
        let name = format!("m{}_{number}", earlier.len());
        fields.push(Field {
            name: (!unnamed).then_some(name),
            of,
            bits,
        });
    }
    fields
}

fn is_composite(models: &[Model], at: usize) -> bool {
    matches!(models[at], Model::Composite { .. })
}

fn name_of(at: usize) -> String {
    format!("t{at}")
}

/// Strings, each once, behind those of the base.
#[derive(Default)]
struct Strings {
    base: u32,
    bytes: Vec<u8>,
    known: HashMap<String, u32>,
}

impl Strings {
    fn offset(&mut self, text: &str) -> u32 {
        let (base, bytes) = (self.base, &mut self.bytes);
        *self.known.entry(text.to_owned()).or_insert_with(|| {
            let offset = base + bytes.len() as u32;
            bytes.extend_from_slice(text.as_bytes());
            bytes.push(0);
            offset
        })
    }
}

/// Base and split BTF of `models`, of which the first `in_base` are the base's.
fn encode(models: &[Model], in_base: usize) -> (Vec<u8>, Vec<u8>) {
    let mut strings = Strings::default();
    strings.offset("");
    let mut halves = [(0..in_base), (in_base..models.len())].into_iter().map(|half| {
        let words: Vec<u32> = half
            .flat_map(|at| words_of(&models[at], at, &mut strings))
            .collect();
        let bytes = blob(&words, &strings.bytes);
        // The empty string stays the base's, as all of its others.
        strings.base += std::mem::take(&mut strings.bytes).len() as u32;
        bytes
    });
    (halves.next().unwrap(), halves.next().unwrap())
}

fn blob(words: &[u32], strings: &[u8]) -> Vec<u8> {
    let types = words.len() as u32 * 4;
    let header = [0x0001_EB9F, 24, 0, types, types, strings.len() as u32];
    let words = header.iter().chain(words).flat_map(|word| word.to_le_bytes());
    words.chain(strings.iter().copied()).collect()
}

fn words_of(model: &Model, at: usize, strings: &mut Strings) -> Vec<u32> {
    let name = strings.offset(&name_of(at));
    let id = |of: usize| of as u32 + 1;
    match model {
        Model::Int { bytes } => vec![name, kind::INT << 24, *bytes, 32],
        Model::Pointer => vec![0, kind::PTR << 24, 0],
        Model::Array { of, count } => vec![0, kind::ARRAY << 24, 0, id(*of), 1, *count],
        Model::Typedef { of } => vec![name, kind::TYPEDEF << 24, id(*of)],
        Model::Const { of } => vec![0, kind::CONST << 24, id(*of)],
        Model::Composite {
            kind,
            bytes,
            bit_fields,
            members,
        } => {
            let info = u32::from(*bit_fields) << 31 | kind << 24 | members.len() as u32;
            let mut words = vec![name, info, *bytes];
            for Field { name, of, bits } in members {
                let name = strings.offset(name.as_deref().unwrap_or_default());
                // Of a bit field the top byte is its width.
                let width = if *bit_fields { 3 << 24 } else { 0 };
                words.extend([name, id(*of), width | bits]);
            }
            words
        }
        Model::Enum { wide, values } => {
            let kind = if *wide { kind::ENUM64 } else { kind::ENUM };
            let mut words = vec![name, kind << 24 | values.len() as u32, 8];
            for (number, value) in values.iter().enumerate() {
                words.extend([strings.offset(&format!("e{at}_{number}")), *value as u32]);
                words.extend(wide.then_some((*value >> 32) as u32));
            }
            words
        }
    }
}

/// What a typedef or qualifier stands for.
fn resolved(models: &[Model], at: usize) -> usize {
    match models[at] {
        Model::Typedef { of } | Model::Const { of } => resolved(models, of),
        _ => at,
    }
}

fn size(models: &[Model], at: usize) -> Option<u32> {
    match &models[resolved(models, at)] {
        Model::Int { bytes } | Model::Composite { bytes, .. } => Some(*bytes),
        Model::Pointer | Model::Enum { .. } => Some(8),
        Model::Array { of, count } => size(models, *of)?.checked_mul(*count),
        Model::Typedef { .. } | Model::Const { .. } => None,
    }
}

/// The members of a structure or union by name, those of unnamed members included: byte offset and type.
fn members(models: &[Model], at: usize) -> Vec<(&str, u32, usize)> {
    let Model::Composite { members: fields, .. } = &models[resolved(models, at)] else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for Field { name, of, bits } in fields {
        match name {
            Some(name) => found.push((name.as_str(), bits / 8, *of)),
            None => found.extend(
                members(models, *of)
                    .into_iter()
                    .map(|(name, offset, of)| (name, bits / 8 + offset, of)),
            ),
        }
    }
    found
}

fn config() -> ProptestConfig {
    ProptestConfig {
        rng_seed: RngSeed::Fixed(0x1d5c_09e5),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_was_encoded_is_found_again(models in any_models(), cut: usize) {
        let (base, split) = encode(&models, cut % (models.len() + 1));
        let btf = Btf::parse(&base, Some(&split)).unwrap();
        for at in 0..models.len() {
            let id = TypeId(at as u32 + 1);
            prop_assert_eq!(btf.size(id), size(&models, at), "{}", name_of(at));
            for (name, offset, of) in members(&models, at) {
                let found = Member { offset, type_id: TypeId(of as u32 + 1) };
                prop_assert_eq!(btf.member(id, name), Some(found), "{} {}", name_of(at), name);
                for (inner, further, of) in members(&models, of) {
                    let found = Member { offset: offset + further, type_id: TypeId(of as u32 + 1) };
                    let path = format!("{name}.{inner}");
                    prop_assert_eq!(btf.member(id, &path), Some(found), "{} {}", name_of(at), path);
                }
            }
            prop_assert_eq!(btf.member(id, "none"), None);
        }
    }

    #[test]
    fn structures_and_enumerators_are_found_by_name(models in any_models(), cut: usize) {
        let (base, split) = encode(&models, cut % (models.len() + 1));
        let btf = Btf::parse(&base, Some(&split)).unwrap();
        for (at, model) in models.iter().enumerate() {
            let structs = match model {
                Model::Composite { kind: kind::STRUCT, members, .. } if !members.is_empty() => vec![TypeId(at as u32 + 1)],
                _ => Vec::new(),
            };
            prop_assert_eq!(btf.structs(&name_of(at)), structs);
            let Model::Enum { wide, values } = model else { continue };
            let mask = if *wide { u64::MAX } else { u32::MAX.into() };
            let named = |(number, value): (usize, &u64)| (format!("e{at}_{number}"), value & mask);
            let expected: Vec<_> = values.iter().enumerate().map(named).collect();
            prop_assert_eq!(btf.enumerators(&name_of(at)), expected);
        }
    }

    #[test]
    fn words_without_sense_are_survived(words in vec(any::<u32>(), 0..200), kinds in vec(0_u32..21, 0..40)) {
        // Now and then a word that may begin a type, so that more than the first one is read.
        let mut words = words;
        for (place, kind) in kinds.into_iter().enumerate() {
            if let Some(word) = words.get_mut(place * 4 + 1) {
                *word = kind << 24 | *word & 0x8000_0003;
            }
        }
        let bytes = synthetic(&[&words], &["kvm", "arch", "apic_map"]);
        for (base, split) in [(&bytes[..], None), (kernel("6.1").vmlinux, Some(&bytes[..]))] {
            let Ok(btf) = Btf::parse(base, split) else { continue };
            for id in (0..=btf.types.len() as u32 + 1).rev().take(64).map(TypeId) {
                let _ = (btf.size(id), btf.member(id, "arch.apic_map"));
            }
            let _ = (btf.structs("kvm"), btf.enumerators("kvm"));
        }
    }
}
