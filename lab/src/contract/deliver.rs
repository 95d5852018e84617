//! The documents of `ldrscope deliver --format json`.

use serde::Deserialize;

use super::{MapMode, VmIdentity};

/// Who gets what in one VM.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the contract's own words")]
pub struct Deliver {
    pub schema: String,
    pub vm: VmIdentity,
    pub mode: MapMode,
    pub destinations: Vec<Delivery>,
}

/// One destination.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the contract's own words")]
pub struct Delivery {
    pub dest: u32,
    pub architecture: Vec<u32>,
    pub kvm: Vec<u32>,
    pub verdict: Verdict,
}

/// How the two sets compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the contract's own words")]
pub enum Verdict {
    Ok,
    Slow,
    Lost,
    Misrouted,
    Partial,
}
