//! What a journey has left so far in the exchange directory: one directory a leg, numbered from 1, with each guest's saved
//! state and ldrscope's documents as it wrote them. A leg's directory gets its number only when it is whole.

use std::fs;
use std::path::{Path, PathBuf};

use lab_protocol::order::EXCHANGE;

use super::travellers::Traveller;
use crate::cases::CaseError;
use crate::contract::{Deliver, Snapshot};
use crate::tool::{read_deliver, read_snapshot, results};

/// Where a leg under way is written.
const UNFINISHED: &str = "unfinished";

/// Who speaks in a leg's documents, and by which rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Voice {
    /// Of the host it runs on.
    Seen,
    /// Of another, with `--as-kvm`.
    Foretold,
}

impl Voice {
    fn word(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Foretold => "foretold",
        }
    }
}

/// What ldrscope said of all guests.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) voice: Voice,
    pub(super) snapshot: Snapshot,
    pub(super) deliver: Vec<Deliver>,
}

/// One leg's directory.
#[derive(Debug)]
pub(super) struct Leg {
    directory: PathBuf,
}

/// The legs that are whole, in order.
pub(super) fn legs() -> Vec<Leg> {
    (1..)
        .map(|number: u32| Path::new(EXCHANGE).join(number.to_string()))
        .take_while(|directory| directory.exists())
        .map(|directory| Leg { directory })
        .collect()
}

impl Leg {
    /// Begins the next leg, forgetting one that was not finished.
    pub(super) fn begin() -> Result<Self, CaseError> {
        let directory = Path::new(EXCHANGE).join(UNFINISHED);
        if directory.exists() {
            fs::remove_dir_all(&directory).map_err(|error| trouble("remove", &directory, &error))?;
        }
        fs::create_dir(&directory).map_err(|error| trouble("create", &directory, &error))?;
        Ok(Self { directory })
    }

    /// Declares it whole, as the leg after all others.
    pub(super) fn finish(self) -> Result<(), CaseError> {
        let number = legs().len() + 1;
        let place = Path::new(EXCHANGE).join(number.to_string());
        fs::rename(&self.directory, &place).map_err(|error| trouble("create", &place, &error))
    }

    /// The file of a guest's saved state.
    pub(super) fn state(&self, traveller: &Traveller) -> PathBuf {
        self.directory.join(format!("{}.state", traveller.identity.name))
    }

    /// Has ldrscope say with `args` what it makes of all guests, and keeps its words.
    pub(super) fn record(&self, voice: Voice, args: &[&str]) -> Result<(), CaseError> {
        for verb in [SNAPSHOT, DELIVER] {
            let file = self.document(verb, voice);
            let text = results(&[verb, "--format", "json"], args)?;
            fs::write(&file, text).map_err(|error| trouble("write", &file, &error))?;
        }
        Ok(())
    }

    /// What ldrscope said on this leg.
    pub(super) fn account(&self, voice: Voice) -> Result<Account, CaseError> {
        let read = |verb| {
            let file = self.document(verb, voice);
            fs::read_to_string(&file).map_err(|error| trouble("read", &file, &error))
        };
        Ok(Account {
            voice,
            snapshot: read_snapshot(&read(SNAPSHOT)?)?,
            deliver: read_deliver(&read(DELIVER)?)?,
        })
    }

    fn document(&self, verb: &str, voice: Voice) -> PathBuf {
        self.directory.join(format!("{verb}-{}.json", voice.word()))
    }
}

const SNAPSHOT: &str = "snapshot";
const DELIVER: &str = "deliver";

fn trouble(action: &str, path: &Path, error: &std::io::Error) -> CaseError {
    CaseError::Unmet(format!(
        "cannot {action} {}: {error}; the lab needs `--exchange DIR`",
        path.display()
    ))
}
