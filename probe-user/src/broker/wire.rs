//! What broker and child say to each other. Both are the same binary, so that it needs no version; what cannot be taken for
//! what it should be is an error all the same.

use probe_apic::map_rules::MapRules;
use serde::{Deserialize, Serialize};

use crate::{
    bpf::handles::Handles,
    kernel::{
        hook::HOOKS,
        inhibits::InhibitTable,
        layout::{Encoding, MapModeKind},
        obstacle::Obstacle,
    },
    observer::HostFacts,
};

/// From the child.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Request {
    /// Open the kernel side; what was open before is let go of.
    Open,
    /// Let go of it.
    Close,
    /// Put the fast programs in: there are VMs.
    Quicken,
    /// Take them out again: there is none.
    Slacken,
}

/// From the broker, one for each request but [`Request::Close`]; where the fast programs are in as it opens, both of the first
/// and the last.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// It is open; its descriptors come with this.
    Opened(Opened),
    /// It could not be opened.
    Refused(Refusal),
    /// The programs that stand in for hooks' own by now, named after those; their descriptors come with this.
    Exchanged {
        /// In the order of their descriptors.
        programs: Vec<String>,
    },
}

/// An obstacle in words.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Refusal {
    word: String,
    sentence: String,
    remedy: String,
}

impl Refusal {
    pub(super) fn of(obstacle: &Obstacle) -> Self {
        // Room for the rest of the message, and for JSON's escapes.
        const LONGEST: usize = super::transport::LONGEST / 8;
        let mut sentence = obstacle.in_full();
        sentence.truncate(sentence.floor_char_boundary(LONGEST));
        Self {
            word: obstacle.word().to_owned(),
            sentence,
            remedy: obstacle.remedy().to_owned(),
        }
    }

    pub(super) fn into_obstacle(self) -> Obstacle {
        // The one that callers tell from all others.
        if self.word == Obstacle::KvmNotLoaded.word() {
            return Obstacle::KvmNotLoaded;
        }
        let known = Obstacle::WORDS.into_iter().find(|word| *word == self.word);
        Obstacle::Relayed {
            word: known.unwrap_or("internal"),
            sentence: self.sentence,
            remedy: self.remedy,
        }
    }
}

/// All that goes with the descriptors.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Opened {
    kernel: String,
    kvm_vendor: String,
    possible_rules: Vec<String>,
    rules_proven: bool,
    precise: bool,
    vector_hashing: Option<bool>,
    map_mode_is_enum: bool,
    inhibits: Vec<(u32, String)>,
    tells_owner: bool,
    /// The fast programs are in. They come in an answer of their own.
    pub(super) fast: bool,
    /// Names of the hooks' programs, in the order of their descriptors.
    programs: Vec<String>,
}

impl Opened {
    pub(super) fn of(facts: &HostFacts, encoding: &Encoding, handles: &Handles, fast: bool) -> Self {
        Self {
            kernel: facts.kernel.clone(),
            kvm_vendor: facts.kvm_vendor.clone(),
            possible_rules: facts
                .possible_rules
                .iter()
                .map(|rules| rules.name().to_owned())
                .collect(),
            rules_proven: facts.rules_proven,
            precise: facts.precise,
            vector_hashing: facts.vector_hashing,
            map_mode_is_enum: encoding.map_mode == MapModeKind::Enum,
            inhibits: encoding.inhibits.entries(),
            tells_owner: encoding.tells_owner,
            fast,
            programs: handles.hooks.iter().map(|(name, _)| (*name).to_owned()).collect(),
        }
    }

    pub(super) fn facts(&self) -> HostFacts {
        let rules = |name: &String| MapRules::ALL.into_iter().find(|rules| rules.name() == name);
        HostFacts {
            kernel: self.kernel.clone(),
            kvm_vendor: self.kvm_vendor.clone(),
            possible_rules: self.possible_rules.iter().filter_map(rules).collect(),
            rules_proven: self.rules_proven,
            precise: self.precise,
            vector_hashing: self.vector_hashing,
        }
    }

    pub(super) fn encoding(&self) -> Encoding {
        Encoding {
            map_mode: if self.map_mode_is_enum {
                MapModeKind::Enum
            } else {
                MapModeKind::Bits
            },
            inhibits: InhibitTable::from_entries(&self.inhibits),
            tells_owner: self.tells_owner,
        }
    }

    /// The hooks' programs; `None` where one is unknown.
    pub(super) fn programs(&self) -> Option<Vec<&'static str>> {
        known(&self.programs)
    }
}

/// The hooks' programs of these names; `None` where one is unknown.
pub(super) fn known(names: &[String]) -> Option<Vec<&'static str>> {
    let known = |name: &String| HOOKS.iter().map(|hook| hook.program).find(|hook| hook == name);
    names.iter().map(known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_its_words_and_a_missing_module_its_kind() {
        let there_and_back = |obstacle: Obstacle| {
            let text = serde_json::to_string(&Refusal::of(&obstacle)).unwrap();
            serde_json::from_str::<Refusal>(&text).unwrap().into_obstacle()
        };
        assert!(matches!(
            there_and_back(Obstacle::KvmNotLoaded),
            Obstacle::KvmNotLoaded
        ));
        let refused = Obstacle::LoadRefused {
            program: "copy_vm".to_owned(),
            source: "x".repeat(1 << 20).into(),
        };
        let told = there_and_back(refused);
        assert_eq!(told.word(), "load-refused");
        assert!(
            told.to_string()
                .starts_with("the kernel refused to load the program `copy_vm`: xxx")
        );
        assert!(told.to_string().len() < super::super::transport::LONGEST);
    }
}
