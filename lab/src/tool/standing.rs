//! The findings that stand, folded from events. Folding also holds the event stream to its order: a finding is
//! raised before it changes or clears, and never raised twice.

use std::collections::BTreeMap;

use crate::contract::{Event, EventKind, Finding};

/// The findings that stand now, by id.
#[derive(Debug, Default)]
pub struct Standing(BTreeMap<String, (u32, Finding)>);

/// An event that cannot follow the ones before it.
#[derive(Debug, thiserror::Error)]
#[error("finding {id} was {event:?} while it {state}")]
pub struct ProtocolError {
    id: String,
    event: EventKind,
    state: &'static str,
}

impl Standing {
    /// Takes one event in.
    pub fn apply(&mut self, event: &Event) -> Result<(), ProtocolError> {
        let id = &event.finding.id;
        let stood = self.0.contains_key(id);
        let breach = |state| ProtocolError {
            id: id.clone(),
            event: event.event,
            state,
        };
        match (event.event, stood) {
            (EventKind::Raised, true) => Err(breach("stood already")),
            (EventKind::Changed | EventKind::Cleared, false) => Err(breach("did not stand")),
            (EventKind::Cleared, true) => {
                self.0.remove(id);
                Ok(())
            }
            (EventKind::Raised | EventKind::Changed, _) => {
                self.0.insert(id.clone(), (event.vm.pid, event.finding.clone()));
                Ok(())
            }
        }
    }

    /// Whether nothing stands.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All standing findings.
    pub fn findings(&self) -> Vec<&Finding> {
        self.0.values().map(|(_, finding)| finding).collect()
    }

    /// The standing findings of the VM whose process is `pid`.
    pub fn of_process(&self, pid: u32) -> Vec<&Finding> {
        self.0
            .values()
            .filter(|(owner, _)| *owner == pid)
            .map(|(_, finding)| finding)
            .collect()
    }
}
