//! A set of 8-bit destinations: what one vCPU answers to, and what a finding touches.
//!
//! A vCPU answers to hundreds of destinations at once, by a pattern that its registers give. So the table of a VM is a set of
//! destinations for each vCPU, and no set of vCPUs for each destination: it costs a few words a vCPU, whatever their number.

use std::ops::{BitAnd, BitOr, BitOrAssign, Not};

use crate::logical_id::{Model, NamedSlots};

/// A set of destinations 0-255.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DestinationSet([u64; 4]);

impl DestinationSet {
    pub(crate) const NONE: Self = Self([0; 4]);
    pub(crate) const ALL: Self = Self([u64::MAX; 4]);

    /// Of each bit of a destination: the destinations in which it is set.
    const WITH_BIT: [Self; 8] = {
        let mut sets = [Self::NONE; 8];
        let mut dest = 0;
        while dest < 256 {
            let mut bit = 0;
            while bit < 8 {
                if dest & 1 << bit != 0 {
                    sets[bit].0[dest / 64] |= 1 << (dest % 64);
                }
                bit += 1;
            }
            dest += 1;
        }
        sets
    };

    /// This one alone.
    pub(crate) const fn of(dest: u8) -> Self {
        let mut words = [0; 4];
        words[dest as usize / 64] = 1 << (dest % 64);
        Self(words)
    }

    /// Those that have a bit in common with `bits`.
    pub(crate) const fn sharing_a_bit(mut bits: u8) -> Self {
        let mut set = Self::NONE;
        while bits != 0 {
            set = set.or(Self::WITH_BIT[bits.trailing_zeros() as usize]);
            bits &= bits - 1;
        }
        set
    }

    /// Those that name one of these slots, read by their model.
    pub(crate) const fn naming(slots: NamedSlots) -> Self {
        match slots.model {
            Model::Flat => Self::sharing_a_bit(slots.bits),
            Model::Cluster => {
                let NamedSlots { cluster, bits, .. } = slots;
                let of_cluster = Self::sharing_a_bit(bits & 0xf).0[0] & 0xffff;
                let mut words = [0; 4];
                words[cluster as usize / 4 % 4] = of_cluster << (cluster % 4 * 16);
                Self(words)
            }
        }
    }

    /// The same but for this one.
    pub(crate) const fn without(mut self, dest: u8) -> Self {
        self.0[dest as usize / 64] &= !(1 << (dest % 64));
        self
    }

    pub(crate) const fn contains(self, dest: u8) -> bool {
        self.0[dest as usize / 64] & 1 << (dest % 64) != 0
    }

    pub(crate) const fn is_empty(self) -> bool {
        matches!(self.0, [0, 0, 0, 0])
    }

    /// How many there are.
    pub(crate) const fn len(self) -> u32 {
        let [a, b, c, d] = self.0;
        a.count_ones() + b.count_ones() + c.count_ones() + d.count_ones()
    }

    const fn or(self, other: Self) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        Self([a | e, b | f, c | g, d | h])
    }
}

impl BitOr for DestinationSet {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.or(other)
    }
}

impl BitOrAssign for DestinationSet {
    fn bitor_assign(&mut self, other: Self) {
        *self = self.or(other);
    }
}

impl BitAnd for DestinationSet {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        Self([a & e, b & f, c & g, d & h])
    }
}

impl Not for DestinationSet {
    type Output = Self;

    fn not(self) -> Self {
        Self(self.0.map(|word| !word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logical_id::LogicalId;

    fn members(set: DestinationSet) -> Vec<u8> {
        (0..=u8::MAX).filter(|&dest| set.contains(dest)).collect()
    }

    #[test]
    fn every_logical_id_is_named_by_the_destinations_that_match_it() {
        for id in (0..=u8::MAX).map(LogicalId) {
            let flat = (0..=u8::MAX).filter(|dest| dest & id.0 != 0);
            let set = DestinationSet::naming(id.named_under(Model::Flat));
            assert_eq!(members(set), flat.collect::<Vec<_>>(), "{id:?}");
            let cluster = (0..=u8::MAX).filter(|dest| dest >> 4 == id.0 >> 4 && dest & id.0 & 0xf != 0);
            let set = DestinationSet::naming(id.named_under(Model::Cluster));
            assert_eq!(members(set), cluster.collect::<Vec<_>>(), "{id:?}");
        }
    }

    #[test]
    fn sets_are_put_together_and_counted_across_words() {
        let set = DestinationSet::of(0) | DestinationSet::of(64) | DestinationSet::of(255);
        assert_eq!((members(set), set.len()), (vec![0, 64, 255], 3));
        assert_eq!((!set).len(), 253);
        assert!((set & !set).is_empty());
        assert_eq!(DestinationSet::ALL & set, set);
    }
}
