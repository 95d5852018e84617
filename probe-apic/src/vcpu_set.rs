//! A set of vCPUs of one VM, by order of creation.
//!
//! What deliveries are made of: hundreds of these are compared for every judgement of a VM, so they are bit
//! sets and do not allocate for VMs of ordinary size.

use crate::id::VcpuIdx;

/// A set of [`VcpuIdx`]. VMs of up to 64 vCPUs need no allocation; 4,096 vCPUs take 512 bytes.
///
/// Indices at or above [`VcpuSet::LIMIT`] are not kept: no KVM has them, and a damaged record must not ask for
/// memory without bound.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct VcpuSet {
    /// vCPUs 0-63.
    first: u64,
    /// The following ones, 64 a word. The last word is never zero, so that equal sets compare equal.
    rest: Vec<u64>,
}

impl VcpuSet {
    /// One more than the highest index that is kept: sixteen times what KVM allows (`KVM_MAX_VCPUS`, 4,096).
    pub const LIMIT: u32 = 1 << 16;

    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            first: 0,
            rest: Vec::new(),
        }
    }

    /// Whether a set keeps this index.
    #[must_use]
    pub const fn keeps(vcpu: VcpuIdx) -> bool {
        vcpu.0 < Self::LIMIT
    }

    /// Puts `vcpu` in.
    pub fn insert(&mut self, vcpu: VcpuIdx) {
        if !Self::keeps(vcpu) {
            return;
        }
        let (word, bit) = (vcpu.0 as usize / 64, vcpu.0 % 64);
        match word.checked_sub(1) {
            None => self.first |= 1 << bit,
            Some(word) => {
                if self.rest.len() <= word {
                    self.rest.resize(word + 1, 0);
                }
                self.rest[word] |= 1 << bit;
            }
        }
    }

    /// Whether `vcpu` is in it.
    #[must_use]
    pub fn contains(&self, vcpu: VcpuIdx) -> bool {
        let (word, bit) = (vcpu.0 as usize / 64, vcpu.0 % 64);
        let word = match word.checked_sub(1) {
            None => self.first,
            Some(word) => self.rest.get(word).copied().unwrap_or(0),
        };
        word & (1 << bit) != 0
    }

    /// Puts every member of `other` in.
    pub fn union_with(&mut self, other: &Self) {
        self.first |= other.first;
        if self.rest.len() < other.rest.len() {
            self.rest.resize(other.rest.len(), 0);
        }
        for (mine, theirs) in self.rest.iter_mut().zip(&other.rest) {
            *mine |= theirs;
        }
    }

    /// Whether every member is in `other` too.
    #[must_use]
    pub fn is_subset(&self, other: &Self) -> bool {
        self.first & !other.first == 0
            && self.rest.len() <= other.rest.len()
            && self
                .rest
                .iter()
                .zip(&other.rest)
                .all(|(mine, theirs)| mine & !theirs == 0)
    }

    /// Whether the two share a member.
    #[must_use]
    pub fn intersects(&self, other: &Self) -> bool {
        self.first & other.first != 0
            || self
                .rest
                .iter()
                .zip(&other.rest)
                .any(|(mine, theirs)| mine & theirs != 0)
    }

    /// Number of members.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether it has no member.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.first == 0 && self.rest.is_empty()
    }

    /// The members, ascending.
    pub fn iter(&self) -> impl Iterator<Item = VcpuIdx> {
        self.words().zip((0_u32..).step_by(64)).flat_map(|(word, base)| {
            let without_lowest = |rest: &u64| Some(rest & rest.wrapping_sub(1));
            std::iter::successors(Some(word), without_lowest)
                .take_while(|&rest| rest != 0)
                .map(move |rest| VcpuIdx(base + rest.trailing_zeros()))
        })
    }

    fn words(&self) -> impl Iterator<Item = u64> {
        std::iter::once(self.first).chain(self.rest.iter().copied())
    }
}

impl FromIterator<VcpuIdx> for VcpuSet {
    fn from_iter<I: IntoIterator<Item = VcpuIdx>>(vcpus: I) -> Self {
        let mut set = Self::new();
        for vcpu in vcpus {
            set.insert(vcpu);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(members: &[u32]) -> VcpuSet {
        members.iter().copied().map(VcpuIdx).collect()
    }

    #[test]
    fn members_come_back_ascending_across_words() {
        let members: Vec<u32> = set(&[4095, 64, 0, 63, 128]).iter().map(|idx| idx.0).collect();
        assert_eq!(members, [0, 63, 64, 128, 4095]);
    }

    #[test]
    fn equality_does_not_depend_on_how_a_set_came_about() {
        let mut grown = set(&[1]);
        grown.union_with(&set(&[70]));
        assert_eq!(grown, set(&[70, 1]));
        assert!(!grown.is_subset(&set(&[1])));
        assert!(set(&[70]).is_subset(&grown));
    }

    #[test]
    fn sets_of_different_width_are_compared_by_member() {
        assert!(set(&[3]).is_subset(&set(&[3, 200])));
        assert!(!set(&[200]).is_subset(&set(&[3])));
        assert!(!set(&[200]).intersects(&set(&[8])));
        assert!(set(&[200, 8]).intersects(&set(&[8])));
        assert_eq!(set(&[200, 8]).len(), 2);
        assert!(set(&[]).is_empty());
    }

    #[test]
    fn an_index_beyond_any_kvm_is_not_kept() {
        assert!(set(&[u32::MAX]).is_empty());
        assert!(!set(&[5]).contains(VcpuIdx(u32::MAX)));
    }
}
