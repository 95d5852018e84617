//! The lines of `ldrscope watch --format jsonl`.

use serde::Deserialize;
use serde_json::Value;

use super::{Finding, nullable};

const EVENT_SCHEMA: &str = "ldrscope.event.v1";
const STATUS_SCHEMA: &str = "ldrscope.status.v1";

/// What happened to a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the contract's own words")]
pub enum EventKind {
    Raised,
    Changed,
    Cleared,
}

/// Which VM.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the contract's own words")]
pub struct VmIdentity {
    pub name: String,
    #[serde(deserialize_with = "nullable")]
    pub uuid: Option<String>,
    pub vmm: String,
    pub pid: u32,
}

/// A finding raised, changed or cleared.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the contract's own words")]
pub struct Event {
    pub schema: String,
    pub time: String,
    pub event: EventKind,
    pub vm: VmIdentity,
    pub finding: Finding,
    pub latency_us: u64,
}

/// What became of the observation itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the contract's own words")]
pub enum StatusKind {
    Lost,
    Uncertain,
    Certain,
    Suppressed,
    OutputLost,
    Uncounted,
    RecordingCut,
    VmGone,
}

/// A line about the observation, not about a finding.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the contract's own words")]
pub struct Status {
    pub schema: String,
    pub time: String,
    pub status: StatusKind,
    #[serde(deserialize_with = "nullable")]
    pub vm: Option<VmIdentity>,
    #[serde(deserialize_with = "nullable")]
    pub records: Option<u64>,
}

/// One line of `watch`.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "events are the rule, and a case sees a few dozen"
)]
pub enum Line {
    /// Schema `ldrscope.event.v1`.
    Event(Event),
    /// Schema `ldrscope.status.v1`.
    Status(Status),
}

/// A line that breaks the contract.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// Not JSON at all, or not the declared shape.
    #[error("{source}, in the line {line}")]
    Shape {
        /// What serde missed.
        source: serde_json::Error,
        /// The line.
        line: String,
    },
    /// A schema that `watch` must not print.
    #[error("unknown schema in the line {0}")]
    Schema(String),
    /// A raw control byte, which no output may contain.
    #[error("a control byte in the line {0:?}")]
    Control(String),
}

/// Reads one line of `watch`.
pub fn parse_line(line: &str) -> Result<Line, LineError> {
    if line.chars().any(char::is_control) {
        return Err(LineError::Control(line.to_owned()));
    }
    let shape = |source| LineError::Shape {
        source,
        line: line.to_owned(),
    };
    let value: Value = serde_json::from_str(line).map_err(shape)?;
    match value.get("schema").and_then(Value::as_str) {
        Some(EVENT_SCHEMA) => serde_json::from_value(value).map(Line::Event).map_err(shape),
        Some(STATUS_SCHEMA) => serde_json::from_value(value).map(Line::Status).map_err(shape),
        _ => Err(LineError::Schema(line.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::{Line, LineError, parse_line};

    const EVENT: &str = r#"{"schema":"ldrscope.event.v1","time":"2026-01-01T00:00:00Z","event":"raised",
        "vm":{"name":"a","uuid":null,"vmm":"qemu","pid":7},"latency_us":12,
        "finding":{"id":"x","rule":"ldr-collision","severity":"warning","vcpus":[0,1],
        "slots":[{"cluster":0,"bit":0}],"since":null,"summary":"s","confidence":"certain","suspected":false,
        "effect":{"lost":0,"misrouted":0,"partial":1,"slow":false},"evidence":[],"cause":null}}"#;

    fn one_line(text: &str) -> String {
        text.lines().map(str::trim).collect()
    }

    #[test]
    fn an_event_of_the_contract_is_read() {
        assert!(matches!(parse_line(&one_line(EVENT)), Ok(Line::Event(_))));
    }

    #[test]
    fn an_unknown_field_is_a_breach() {
        let line = one_line(EVENT).replace("\"latency_us\":12", "\"latency_us\":12,\"extra\":1");
        assert!(matches!(parse_line(&line), Err(LineError::Shape { .. })));
    }

    #[test]
    fn a_nullable_field_must_still_be_there() {
        let line = one_line(EVENT).replace(",\"cause\":null", "");
        assert!(matches!(parse_line(&line), Err(LineError::Shape { .. })));
    }
}
