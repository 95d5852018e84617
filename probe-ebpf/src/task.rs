//! The task that runs, and the vCPU that it has loaded.

use aya_ebpf::helpers::generated::{bpf_get_current_comm, bpf_get_current_task_btf};
use probe_common::layout::ABSENT;

use crate::{
    kvm::Vcpu,
    layout::offset,
    way::{Fentry, Kprobe, Way as _},
};

/// `struct task_struct *` whose type the verifier knows (5.11 on), or nothing.
#[derive(Clone, Copy)]
pub(crate) struct Task(Option<u64>);

impl Task {
    /// The one that runs.
    #[inline(always)]
    pub(crate) fn current() -> Self {
        if offset!(task_preempt_notifiers) == ABSENT {
            return Self(None);
        }
        // SAFETY: takes no argument and always succeeds.
        Self(Some(unsafe { bpf_get_current_task_btf() } as u64))
    }

    /// Puts its name into `to`: read in place, which is a tenth of what the helper costs.
    ///
    /// # Safety
    ///
    /// `to` must point to 16 writable bytes that lie at a multiple of eight.
    #[inline(always)]
    pub(crate) unsafe fn copy_comm(self, to: *mut [u8; 16]) {
        match self.0 {
            Some(task) => {
                let comm = task + offset!(task_comm) as u64;
                let to: *mut u64 = to.cast();
                for half in 0..2 {
                    let word = Fentry::read::<u64>(comm + half * 8).unwrap_or(0);
                    // SAFETY: the caller vouches for both words.
                    unsafe { to.wrapping_add(half as usize).write(word) };
                }
            }
            // SAFETY: the caller vouches for it; the helper zeroes what it cannot fill.
            None => unsafe {
                bpf_get_current_comm(to.cast(), 16);
            },
        }
    }

    /// The vCPU that it has loaded: KVM is told of the task's being scheduled, through a notifier that lies in the vCPU
    /// (virt/kvm/kvm_main.c, vcpu_load).
    #[inline(always)]
    pub(crate) fn vcpu(self) -> Option<Vcpu<Kprobe>> {
        match self.0 {
            Some(task) => {
                let first = Fentry::read::<u64>(task + offset!(task_preempt_notifiers) as u64)?;
                (first != 0).then(|| Vcpu::at(first - offset!(vcpu_preempt_link) as u64))
            }
            None => Vcpu::running(),
        }
    }
}
