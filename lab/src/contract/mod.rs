//! ldrscope's JSON, declared a second time and strictly: unknown fields, missing fields and unknown words are
//! errors, and a nullable field must be present. This holds the output to its contract from outside, so nothing
//! here may be shared with ldrscope. Running ldrscope and reading its lines is for `tool`.

mod deliver;
mod doctor;
mod event;
mod finding;
mod snapshot;

pub use deliver::{Deliver, Delivery, Verdict};
pub use doctor::{Check, Doctor, State};
pub use event::{Event, EventKind, Line, LineError, Status, StatusKind, VmIdentity, parse_line};
pub use finding::{Cause, Confidence, Effect, Evidence, Finding, Register, Route, Rule, Severity, Slot};
pub use snapshot::{
    Aimed, AimedSource, Apicv, Host, Map, MapMode, MapPhysical, MapSlot, Maps, Mode, Snapshot, Vcpu, Vm,
};

use serde::{Deserialize, Deserializer};

/// Reads a field that may be null but must be there: with an explicit deserializer serde no longer takes a missing
/// `Option` for `None`.
fn nullable<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer)
}
