//! A stretch of a VM's interrupt routes: what each GSI of `kvm->irq_routing` (virt/kvm/irqchip.c) leads to.
//!
//! KVM frees a replaced table after a grace period of its own (SRCU), which a program cannot hold up. So a copy counts
//! only if the table was still the VM's afterwards, and every entry carries the GSI it says it is of.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use probe_common::{
    ABI_VERSION,
    layout::ABSENT,
    window::{Route, RouteCopy},
};

use crate::{
    kvm::Kvm,
    layout::offset,
    maps::WINDOW,
    way::{fetch, read},
};

/// Arguments: address of `struct kvm`; first GSI.
#[raw_tracepoint]
fn copy_routes(ctx: RawTracePointContext) -> i32 {
    let _ = try_copy_routes(Kvm::at(ctx.arg::<u64>(0)), ctx.arg::<u64>(1) as u32);
    0
}

#[inline(always)]
fn try_copy_routes(kvm: Kvm, first: u32) -> Option<()> {
    let window = WINDOW.get_ptr_mut(0)?;
    // SAFETY: the verifier proved that the window exists; userspace runs one program at a time.
    let copy = unsafe { &mut (*window).routes };
    copy.abi = ABI_VERSION;
    copy.made = 0;
    copy.gsis = 0;
    copy.first = first;
    copy.failed = 0;
    copy.generation = kvm.entry().map_or(0, |entry| entry.generation);
    copy.table = 0;
    if !is_resolved() {
        copy.made = 1;
        return None;
    }
    let table = table_of(kvm)?;
    copy.table = table;
    if table != 0 {
        copy.failed = fetch(&mut copy.gsis, table + offset!(routing_gsis) as u64);
        copy_stretch(copy, first);
    }
    copy.made = (kvm.linked() && table_of(kvm) == Some(table)) as u16;
    Some(())
}

/// Whether the kernel's types tell where everything is.
#[inline(always)]
fn is_resolved() -> bool {
    offset!(kvm_irq_routing) != ABSENT
        && offset!(routing_gsis) != ABSENT
        && offset!(routing_map) != ABSENT
        && offset!(route_link) != ABSENT
        && offset!(route_gsi) != ABSENT
        && offset!(route_type) != ABSENT
        && offset!(route_address_lo) != ABSENT
        && offset!(route_address_hi) != ABSENT
        && offset!(route_data) != ABSENT
}

#[inline(always)]
fn table_of(kvm: Kvm) -> Option<u64> {
    read(kvm.address() + offset!(kvm_irq_routing) as u64)
}

#[inline(always)]
fn copy_stretch(copy: &mut RouteCopy, first: u32) {
    let heads = copy.table + offset!(routing_map) as u64 + first as u64 * 8;
    let left = copy.gsis.saturating_sub(first);
    for (i, to) in copy.routes.iter_mut().enumerate() {
        if i as u32 >= left {
            break;
        }
        copy_route(heads + i as u64 * 8, to);
    }
}

/// `head` is the address of the GSI's `struct hlist_head`: one pointer, to the `link` of its first entry.
#[inline(always)]
fn copy_route(head: u64, to: &mut Route) {
    to.failed = fetch(&mut to.node, head);
    if to.node == 0 {
        return;
    }
    let entry = to.node - offset!(route_link) as u64;
    let mut failed = fetch(&mut to.gsi, entry + offset!(route_gsi) as u64);
    failed |= fetch(&mut to.kind, entry + offset!(route_type) as u64);
    failed |= fetch(&mut to.address_lo, entry + offset!(route_address_lo) as u64);
    failed |= fetch(&mut to.address_hi, entry + offset!(route_address_hi) as u64);
    failed |= fetch(&mut to.data, entry + offset!(route_data) as u64);
    to.failed |= failed;
}
