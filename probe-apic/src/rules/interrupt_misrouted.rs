//! `interrupt-misrouted`: a real interrupt reached a vCPU that the architecture does not name, or only some of those that it names. One
//! finding a VM.

use super::{Draft, View, gone_astray};
use crate::delivery::Verdict;

pub(super) fn find<'a>(view: &View<'a>) -> Vec<Draft<'a>> {
    gone_astray::find(view, is_meant)
}

pub(super) const fn is_meant(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Misrouted | Verdict::Partial)
}
