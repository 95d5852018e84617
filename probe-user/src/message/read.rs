//! Reads a snapshot back. What is no snapshot is refused in one sentence that names the place.

use std::io::{self, Read};

use serde::Deserialize;
use serde_json::{Value, error::Category};

use super::{Slot, Snapshot};

/// No host has VMs for a snapshot of this size: it would be one of 4,000 VMs with 256 vCPUs each.
const LARGEST: u64 = 512 << 20;

/// Characters of what a document has in place of what it should have.
const QUOTED: usize = 120;

/// Why something cannot be read as a snapshot. Names and quotations are not escaped.
#[derive(Debug, thiserror::Error)]
pub enum BadSnapshot {
    /// The file.
    #[error("{name} cannot be read")]
    Unreadable {
        /// Which.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// Its size.
    #[error("{name} has more than {most} bytes, which no snapshot has")]
    TooLarge {
        /// Which.
        name: String,
        /// What it may have.
        most: u64,
    },
    /// Its syntax.
    #[error("{name}:{line}:{column}: this is no JSON: {why}")]
    NoJson {
        /// Which.
        name: String,
        /// From 1.
        line: usize,
        /// From 1, or 0 where a line ends.
        column: usize,
        /// What the parser says.
        why: String,
    },
    /// JSON, but of somebody else's.
    #[error("{name} is JSON, but no document of ldrscope's: it is no object with a `schema`")]
    NoSchema {
        /// Which.
        name: String,
    },
    /// Another document of ldrscope's, or one of a later schema.
    #[error("{name} is a document `{schema}`; this ldrscope reads `{}`", Snapshot::SCHEMA)]
    OtherSchema {
        /// Which.
        name: String,
        /// What it says it is.
        schema: String,
    },
    /// It says it is a snapshot, and is none.
    #[error(
        "{name}:{line}:{column}: `{path}` is not as {} has it: {why}",
        Snapshot::SCHEMA
    )]
    Malformed {
        /// Which.
        name: String,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// The place within the document.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// A slot that no map has.
    #[error("{name}: `{path}` is cluster {cluster}, bit {bit}: no map has such a slot")]
    NoSuchSlot {
        /// Which.
        name: String,
        /// The place within the document.
        path: String,
        /// At most 15 in a map.
        cluster: u8,
        /// At most 7 in a map.
        bit: u8,
    },
}

impl BadSnapshot {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "name a file that can be read, or `-` for the standard input",
            Self::OtherSchema { schema, .. } if schema.starts_with("ldrscope.snapshot.") => {
                "use the ldrscope that wrote it, or a later one"
            }
            _ => "give it what `ldrscope snapshot --format json` wrote, whole and as it is",
        }
    }
}

/// Reads a snapshot from `input`, which messages call `name`.
///
/// # Errors
/// Anything that is no snapshot of [`Snapshot::SCHEMA`].
pub fn snapshot(name: &str, input: impl Read) -> Result<Snapshot, BadSnapshot> {
    let bytes = bytes(name, input, LARGEST)?;
    check_schema(name, &bytes)?;
    let mut parser = serde_json::Deserializer::from_slice(&bytes);
    let snapshot: Snapshot = serde_path_to_error::deserialize(&mut parser).map_err(|error| {
        let path = shortened(&error.path().to_string());
        let error = error.into_inner();
        BadSnapshot::Malformed {
            name: name.to_owned(),
            line: error.line(),
            column: error.column(),
            path,
            why: reason(&error),
        }
    })?;
    let impossible = slots(&snapshot).find(|(_, slot)| slot.cluster > 15 || slot.bit > 7);
    match impossible {
        None => Ok(snapshot),
        Some((path, Slot { cluster, bit })) => Err(BadSnapshot::NoSuchSlot {
            name: name.to_owned(),
            path,
            cluster,
            bit,
        }),
    }
}

fn bytes(name: &str, input: impl Read, most: u64) -> Result<Vec<u8>, BadSnapshot> {
    let mut bytes = Vec::new();
    let read = input.take(most + 1).read_to_end(&mut bytes);
    let length = read.map_err(|source| BadSnapshot::Unreadable {
        name: name.to_owned(),
        source,
    })?;
    if length as u64 > most {
        return Err(BadSnapshot::TooLarge {
            name: name.to_owned(),
            most,
        });
    }
    Ok(bytes)
}

/// Refuses what is not all JSON, and what does not say that it is a snapshot.
fn check_schema(name: &str, bytes: &[u8]) -> Result<(), BadSnapshot> {
    #[derive(Deserialize)]
    struct Head {
        schema: Option<Value>,
    }
    let name = name.to_owned();
    match serde_json::from_slice(bytes) {
        Ok(Head {
            schema: Some(Value::String(schema)),
        }) if schema == Snapshot::SCHEMA => Ok(()),
        Ok(Head {
            schema: Some(Value::String(schema)),
        }) => Err(BadSnapshot::OtherSchema {
            name,
            schema: shortened(&schema),
        }),
        Ok(_) => Err(BadSnapshot::NoSchema { name }),
        Err(error) if error.classify() == Category::Data => Err(BadSnapshot::NoSchema { name }),
        Err(error) => Err(BadSnapshot::NoJson {
            name,
            line: error.line(),
            column: error.column(),
            why: reason(&error),
        }),
    }
}

/// Every slot and its place.
fn slots(snapshot: &Snapshot) -> impl Iterator<Item = (String, Slot)> + '_ {
    snapshot.vms.iter().enumerate().flat_map(|(number, vm)| {
        let maps = [("published", &vm.map.published), ("rebuilt", &vm.map.rebuilt)];
        let of_maps = maps.into_iter().flat_map(move |(which, map)| {
            let entries = map.iter().flat_map(|map| map.slots.iter().enumerate());
            entries.map(move |(at, entry)| (format!("vms[{number}].map.{which}.slots[{at}]"), entry.slot))
        });
        let of_findings = vm.findings.iter().enumerate().flat_map(move |(which, finding)| {
            let slots = finding.slots.iter().enumerate();
            slots.map(move |(at, slot)| (format!("vms[{number}].findings[{which}].slots[{at}]"), *slot))
        });
        of_maps.chain(of_findings)
    })
}

/// What the parser says, without the place that it puts behind.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    shortened(text.strip_suffix(&place).unwrap_or(&text))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = r#""schema":"ldrscope.snapshot.v1","taken_at":"t","host":{"kernel":"k","kvm_vendor":"amd","map_rules":"overwrite"}"#;

    fn refused(text: &str) -> String {
        let error = snapshot("a.json", text.as_bytes()).unwrap_err();
        assert!(!error.remedy().is_empty());
        error.to_string()
    }

    #[test]
    fn what_is_no_snapshot_is_told_with_its_place() {
        assert!(refused("").starts_with("a.json:1:0: this is no JSON: EOF"));
        assert_eq!(
            refused("{\n  x"),
            "a.json:2:3: this is no JSON: key must be a string"
        );
        let no_schema = "a.json is JSON, but no document of ldrscope's: it is no object with a `schema`";
        for other in ["3", "{}", r#"{"schema":1}"#, "null", r#""text""#] {
            assert_eq!(refused(other), no_schema, "{other}");
        }
        assert_eq!(
            refused(r#"{"schema":"ldrscope.snapshot.v2"}"#),
            "a.json is a document `ldrscope.snapshot.v2`; this ldrscope reads `ldrscope.snapshot.v1`"
        );
        let error = refused(&format!("{{{HEAD}}}"));
        assert!(
            error.starts_with("a.json:1:") && error.ends_with(" has it: missing field `vms`"),
            "{error}"
        );
        assert_eq!(
            refused(&format!("{{{HEAD},\"vms\":[]}}\n{{}}")),
            "a.json:2:1: this is no JSON: trailing characters"
        );
    }

    #[test]
    fn a_wrong_field_is_named_by_its_path_and_quoted_in_short() {
        let vm = |map: &str, vcpus: &str| {
            format!(
                r#"{{{HEAD},"vms":[{{"name":"n","uuid":null,"vmm":"v","pid":1,"confidence":"certain","vcpus":[{vcpus}],"map":{{"published":{map},"rebuilt":null,"agrees":null}},"apicv":{{"inhibits":[]}},"aimed":[],"findings":[]}}]}}"#
            )
        };
        let vcpu = format!(r#"{{"vcpu_id":0,"apic_id":"{}"}}"#, "x".repeat(1000));
        let error = refused(&vm("null", &vcpu));
        let place =
            ": `vms[0].vcpus[0].apic_id` is not as ldrscope.snapshot.v1 has it: invalid type: string \"xxx";
        assert!(error.contains(place) && error.len() < 300, "{error}");
        let map = |slot: &str| format!(r#"{{"mode":"flat","slots":[{slot}],"physical":[]}}"#);
        assert_eq!(
            refused(&vm(&map(r#"{"cluster":0,"bit":200,"vcpu_id":1}"#), "")),
            "a.json: `vms[0].map.published.slots[0]` is cluster 0, bit 200: no map has such a slot"
        );
        assert!(snapshot("a.json", vm(&map(""), "").as_bytes()).is_ok());
    }

    #[test]
    fn an_endless_input_is_refused() {
        let error = bytes("standard input", io::repeat(b' '), 99).unwrap_err();
        assert_eq!(
            error.to_string(),
            "standard input has more than 99 bytes, which no snapshot has"
        );
        assert_eq!(bytes("a", io::repeat(b' ').take(99), 99).unwrap().len(), 99);
    }
}
