//! The document of `ldrscope doctor --format json`.

use serde::Deserialize;

use super::nullable;

/// What a host allows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the contract's own words")]
pub struct Doctor {
    pub schema: String,
    pub able: bool,
    pub checks: Vec<Check>,
}

/// One thing looked at.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the contract's own words")]
pub struct Check {
    pub check: String,
    pub state: State,
    #[serde(deserialize_with = "nullable")]
    pub word: Option<String>,
    pub detail: String,
    #[serde(deserialize_with = "nullable")]
    pub remedy: Option<String>,
}

/// How it came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the contract's own words")]
pub enum State {
    Ok,
    Degraded,
    Blocked,
}
