//! A stretch of KVM's list of VMs (`vm_list`, virt/kvm/kvm_main.c).
//!
//! The list's lock cannot be taken here, so every step checks that the neighbour points back; a list that
//! changes underfoot is said to be torn, and userspace walks it again.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use probe_common::{ABI_VERSION, window};

use crate::{layout::offset, maps::WINDOW, way::read};

/// Argument 0: the node to go on from, 0 for the head.
#[raw_tracepoint]
fn walk_list(ctx: RawTracePointContext) -> i32 {
    let _ = try_walk_list(ctx.arg::<u64>(0));
    0
}

#[inline(always)]
fn try_walk_list(from: u64) -> Option<()> {
    let window = WINDOW.get_ptr_mut(0)?;
    // SAFETY: the verifier proved that the window exists; userspace runs one program at a time.
    let list = unsafe { &mut (*window).list };
    let head = offset!(vm_list_head);
    let mut node = if from == 0 { head } else { from };
    list.abi = ABI_VERSION;
    list.made = 1;
    list.count = 0;
    list.torn = 0;
    list.next = 0;
    for slot in 0..window::VMS {
        let next = read::<u64>(node).unwrap_or(0);
        if read::<u64>(next + 8) != Some(node) {
            list.torn = 1;
            return None;
        }
        if next == head {
            return None;
        }
        list.vms[slot] = next - offset!(kvm_vm_list) as u64;
        list.count = slot as u32 + 1;
        node = next;
    }
    list.next = node;
    Some(())
}
