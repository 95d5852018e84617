//! `interrupt-lost`: a real interrupt reached nobody, though the architecture names somebody. One finding a VM.

use super::{Draft, View, gone_astray};
use crate::delivery::Verdict;

pub(super) fn find<'a>(view: &View<'a>) -> Vec<Draft<'a>> {
    gone_astray::find(view, is_meant)
}

pub(super) const fn is_meant(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Lost)
}
