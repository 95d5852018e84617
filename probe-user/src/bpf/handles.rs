//! The descriptors by which a loaded kernel side is observed. They give no right to attach, and holding them keeps nothing
//! attached: the links stay with the [`Attachment`](super::attachment::Attachment).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::kernel::hook::INTERRUPT;

/// One descriptor each, in the order in which they are handed from one process to another.
#[derive(Debug)]
pub struct Handles {
    /// The ring of events.
    pub ring: OwnedFd,
    /// The window that copies are put into.
    pub window: OwnedFd,
    /// What was not sent.
    pub counts: OwnedFd,
    /// The programs that fill the window, in the order of [`super::window::PROGRAMS`].
    pub copiers: [OwnedFd; 3],
    /// What was counted of interrupts, and the pulse by which they are counted, where they are.
    pub interrupts: Option<[OwnedFd; 2]>,
    /// The programs of the hooks, by the names of [`crate::kernel::hook::HOOKS`]: for their statistics.
    pub hooks: Vec<(&'static str, OwnedFd)>,
}

impl Handles {
    /// Descriptors beside those of the hooks, and of those two that are there with one of the hooks only.
    pub const FIXED: usize = 6;

    /// All descriptors in their order.
    #[must_use]
    pub fn in_order(&self) -> Vec<BorrowedFd<'_>> {
        let [vm, routes, list] = &self.copiers;
        let fixed = [&self.ring, &self.window, &self.counts, vm, routes, list];
        let interrupts = self.interrupts.iter().flatten();
        let hooks = self.hooks.iter().map(|(_, program)| program);
        let all = fixed.into_iter().chain(interrupts).chain(hooks);
        all.map(AsFd::as_fd).collect()
    }

    /// From descriptors in their order, and the names of the hooks that the last ones belong to; `None` where their number
    /// is another.
    #[must_use]
    pub fn from_order(descriptors: Vec<OwnedFd>, hooks: &[&'static str]) -> Option<Self> {
        let counts_interrupts = hooks.contains(&INTERRUPT);
        if descriptors.len() != Self::FIXED + if counts_interrupts { 2 } else { 0 } + hooks.len() {
            return None;
        }
        let mut descriptors = descriptors.into_iter();
        let mut next = || descriptors.next();
        Some(Self {
            ring: next()?,
            window: next()?,
            counts: next()?,
            copiers: [next()?, next()?, next()?],
            interrupts: if counts_interrupts {
                Some([next()?, next()?])
            } else {
                None
            },
            hooks: hooks.iter().copied().zip(descriptors).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsRawFd};

    use super::*;

    #[test]
    fn descriptors_keep_their_places_on_the_way() {
        let open = |count| -> Vec<OwnedFd> {
            (0..count)
                .map(|_| File::open("/dev/null").unwrap().into())
                .collect()
        };
        let descriptors = open(Handles::FIXED + 2);
        let numbers: Vec<_> = descriptors.iter().map(|fd| fd.as_raw_fd()).collect();
        let handles = Handles::from_order(descriptors, &["a", "b"]).unwrap();
        assert_eq!(handles.ring.as_raw_fd(), numbers[0]);
        assert_eq!(handles.hooks[1].1.as_raw_fd(), numbers[Handles::FIXED + 1]);
        let again: Vec<_> = handles.in_order().iter().map(AsRawFd::as_raw_fd).collect();
        assert_eq!(again, numbers);
        assert!(Handles::from_order(open(3), &[]).is_none());
        assert!(Handles::from_order(open(Handles::FIXED + 1), &[INTERRUPT]).is_none());
        let counting = Handles::from_order(open(Handles::FIXED + 3), &[INTERRUPT]).unwrap();
        assert!(counting.interrupts.is_some());
        assert_eq!(counting.in_order().len(), Handles::FIXED + 3);
    }
}
