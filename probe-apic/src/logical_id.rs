//! The 8-bit logical ID of xAPIC mode, and the slots it names under a model.
//!
//! SDM vol. 3, "Logical Destination Mode and Local APIC ID". Who claims a slot is left to [`crate::rules`],
//! who gets an interrupt to [`crate::delivery`].

use std::fmt;

use crate::id::Slot;

/// How the 8-bit logical ID and destination are read, chosen by the DFR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Model {
    /// Eight bits, one an APIC.
    Flat,
    /// A cluster number in bits 7:4, four bits in 3:0.
    Cluster,
}

impl Model {
    /// `flat` or `cluster`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Cluster => "cluster",
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The logical ID in LDR bits 31:24.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogicalId(pub u8);

impl LogicalId {
    /// Whether no bit at all is set.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The slots this ID names under `model`.
    #[must_use]
    pub const fn named_under(self, model: Model) -> NamedSlots {
        match model {
            Model::Flat => NamedSlots {
                model,
                cluster: 0,
                bits: self.0,
            },
            Model::Cluster => NamedSlots {
                model,
                cluster: self.0 >> 4,
                bits: self.0 & 0xf,
            },
        }
    }
}

/// The slots that one logical ID, or one 8-bit destination, names under one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedSlots {
    /// The model they are read by.
    pub model: Model,
    /// The cluster, 0 in the flat model.
    pub cluster: u8,
    /// The bits within the cluster: 8 in the flat model, 4 in the cluster model.
    pub bits: u8,
}

impl NamedSlots {
    /// This slot alone. One that its model does not have is named by nothing.
    #[must_use]
    pub const fn only(model: Model, slot: Slot) -> Self {
        let Slot { cluster, bit } = slot;
        let bits = match model {
            Model::Flat if cluster == 0 && bit < 8 => 1 << bit,
            Model::Cluster if cluster < 16 && bit < 4 => 1 << bit,
            Model::Flat | Model::Cluster => 0,
        };
        Self { model, cluster, bits }
    }

    /// How many slots are named.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.bits.count_ones()
    }

    /// Whether none is named.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.bits == 0
    }

    /// Whether `slot` of the same model is among them.
    #[must_use]
    pub const fn contains(self, slot: Slot) -> bool {
        self.cluster == slot.cluster && slot.bit < 8 && self.bits & (1 << slot.bit) != 0
    }

    /// The slots, ascending.
    pub fn iter(self) -> impl Iterator<Item = Slot> {
        (0..8)
            .filter(move |bit| self.bits & (1 << bit) != 0)
            .map(move |bit| Slot {
                cluster: self.cluster,
                bit,
            })
    }
}
