//! The journal, read back by `journalctl -o json` as its users read it.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{FleetError, run};

/// Between two looks for an entry.
const POLL: Duration = Duration::from_millis(300);

/// The entries from some moment on.
///
/// Told by their time, since journalctl 252 passes over the first match behind a cursor that does not match itself.
#[derive(Debug)]
pub struct Journal {
    /// Microseconds since the boot.
    after: u64,
}

/// One entry: each field with all its values, as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    fields: BTreeMap<String, Vec<Vec<u8>>>,
}

impl Journal {
    /// The entries that come from now on.
    pub fn from_now() -> Result<Self, FleetError> {
        // journald keeps what it has taken in, and this waits until it has taken in what was sent.
        run("journalctl", &["--sync"])?;
        let text = run("journalctl", &["--output=json", "--lines=1", "--quiet"])?;
        let newest = text.lines().next().map(parse).transpose()?;
        let after = newest.and_then(|entry| entry.since_boot());
        Ok(Self {
            after: after.ok_or_else(|| odd("there is no entry with a time"))?,
        })
    }

    /// Those whose fields match, each as `FIELD=value`, oldest first.
    pub fn entries(&self, matches: &[&str]) -> Result<Vec<Entry>, FleetError> {
        let fixed = ["--output=json", "--all", "--quiet", "--no-pager", "--boot"];
        let text = run("journalctl", &[&fixed, matches].concat())?;
        let entries = text.lines().map(parse).collect::<Result<Vec<_>, _>>()?;
        let is_later = |entry: &Entry| entry.since_boot().is_some_and(|time| time > self.after);
        Ok(entries.into_iter().filter(is_later).collect())
    }

    /// Waits for one that matches and for which `holds` says so.
    pub fn wait_for(
        &self,
        what: &str,
        limit: Duration,
        matches: &[&str],
        holds: impl Fn(&Entry) -> bool,
    ) -> Result<Entry, FleetError> {
        let deadline = Instant::now() + limit;
        loop {
            let entries = self.entries(matches)?;
            if let Some(found) = entries.iter().find(|entry| holds(entry)) {
                return Ok(found.clone());
            }
            if Instant::now() >= deadline {
                let lines: Vec<_> = entries.iter().map(Entry::line).collect();
                return Err(FleetError::NotSeen {
                    what: what.to_owned(),
                    seconds: limit.as_secs(),
                    state: format!("the entries of {matches:?} are:\n{}", lines.join("\n")),
                });
            }
            thread::sleep(POLL);
        }
    }
}

impl Entry {
    /// All values of a field, in order; none if it is absent.
    pub fn values(&self, field: &str) -> &[Vec<u8>] {
        self.fields.get(field).map_or(&[], Vec::as_slice)
    }

    /// All values of a field as text.
    pub fn texts(&self, field: &str) -> Vec<String> {
        let values = self.values(field).iter();
        values
            .map(|value| String::from_utf8_lossy(value).into_owned())
            .collect()
    }

    /// The value of a field that has exactly one.
    pub fn text(&self, field: &str) -> Option<String> {
        match self.values(field) {
            [only] => Some(String::from_utf8_lossy(only).into_owned()),
            _ => None,
        }
    }

    /// When journald took it in, in microseconds since the boot.
    pub fn since_boot(&self) -> Option<u64> {
        self.text("__MONOTONIC_TIMESTAMP")?.parse().ok()
    }

    /// All of it that is not journald's own, on one line for a person.
    pub fn line(&self) -> String {
        let own = self.fields.keys().filter(|name| !name.starts_with('_'));
        own.map(|name| format!("{name}={:?}", self.texts(name)))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

fn parse(line: &str) -> Result<Entry, FleetError> {
    let fields: BTreeMap<String, Value> =
        serde_json::from_str(line).map_err(|error| odd(&format!("{error}: {line}")))?;
    let fields = fields
        .into_iter()
        .map(|(name, value)| Ok((name, values_of(&value).ok_or_else(|| odd(line))?)))
        .collect::<Result<_, FleetError>>()?;
    Ok(Entry { fields })
}

/// A field is a string, or bytes as an array of numbers, or an array of these if it came more than once (journalctl(1)).
fn values_of(value: &Value) -> Option<Vec<Vec<u8>>> {
    match value {
        Value::Array(several) if several.iter().all(|item| !item.is_number()) => {
            several.iter().map(one_value).collect()
        }
        one => Some(vec![one_value(one)?]),
    }
}

fn one_value(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.clone().into_bytes()),
        Value::Array(bytes) => bytes
            .iter()
            .map(|byte| byte.as_u64().and_then(|byte| u8::try_from(byte).ok()))
            .collect(),
        _ => None,
    }
}

fn odd(reason: &str) -> FleetError {
    FleetError::Odd {
        tool: "journalctl",
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn text_bytes_and_repeated_fields_are_told_apart() {
        let entry =
            parse(r#"{"MESSAGE":"one","VCPU":["0","1"],"NAME":[27,10],"BOTH":["a",[255]],"__CURSOR":"s=1"}"#)
                .unwrap();
        assert_eq!(entry.text("MESSAGE").as_deref(), Some("one"));
        assert_eq!(entry.texts("VCPU"), ["0", "1"]);
        assert_eq!(entry.values("NAME"), [vec![27, 10]]);
        assert_eq!(entry.values("BOTH"), [b"a".to_vec(), vec![255]]);
        assert_eq!(entry.text("VCPU"), None);
        assert!(entry.values("ABSENT").is_empty());
        assert!(!entry.line().contains("__CURSOR") && entry.line().contains("VCPU=[\"0\", \"1\"]"));
    }

    #[test]
    fn a_field_that_was_left_out_for_its_size_is_refused() {
        assert!(parse(r#"{"MESSAGE":null}"#).is_err());
        assert!(parse("-- No entries --").is_err());
    }
}
