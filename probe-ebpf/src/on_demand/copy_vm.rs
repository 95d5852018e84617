//! One VM, or as much of it as fits: its vCPUs' registers, KVM's published map, the IOAPIC's pins, framed
//! by two stamps that tell whether anything changed meanwhile.
//!
//! Reads go to their place in the window without branching on any result: error codes are OR-ed together
//! and judged by userspace, so that the verifier's work stays proportional to the size of the window.

use core::ffi::c_void;

use aya_ebpf::{
    helpers::generated::bpf_probe_read_kernel_str, macros::raw_tracepoint, programs::RawTracePointContext,
};
use probe_common::{
    ABI_VERSION,
    layout::ABSENT,
    regs::{APIC_DFR, APIC_ICR, APIC_ICR2, APIC_ID, APIC_LDR, APIC_SVR},
    window::{self, VmCopy},
};

use crate::{
    emit::{self, Birth, Count},
    kvm::Kvm,
    layout::offset,
    maps::{VMS, VmEntry, WINDOW},
    way::{copy, fetch, read},
};

/// Arguments: address of `struct kvm`; first vCPU, a multiple of 64; first entry of the physical map; 1 to
/// adopt a VM that is not known yet.
#[raw_tracepoint]
fn copy_vm(ctx: RawTracePointContext) -> i32 {
    let kvm = Kvm::at(ctx.arg::<u64>(0));
    let (first_vcpu, first_physical, adopt) = (ctx.arg::<u64>(1), ctx.arg::<u64>(2), ctx.arg::<u64>(3));
    if adopt != 0 {
        adopt_vm(&ctx, kvm);
    }
    let _ = try_copy_vm(kvm, first_vcpu as u32, first_physical as u32);
    0
}

/// Gives a birth number to a VM that ran before ldrscope did.
///
/// The VM may end at the same time. Its end takes it off KVM's list first and out of the table later, so
/// an entry made while the VM is still listed afterwards is taken out by its end, and any other here.
#[inline(always)]
fn adopt_vm(ctx: &RawTracePointContext, kvm: Kvm) {
    const NO_EXIST: u64 = 1;
    if kvm.entry().is_some() || !kvm.linked() {
        return;
    }
    let Some(generation) = emit::birth_number(ctx, Birth::Adopted) else {
        return;
    };
    let apic_map = kvm.apic_map().unwrap_or(0);
    let entry = VmEntry::new(generation, apic_map);
    if VMS.insert(kvm.address(), entry, NO_EXIST).is_err() {
        // Known by now, or no room; only the latter is a loss.
        if kvm.entry().is_none() {
            emit::count(Count::Untracked);
        }
        return;
    }
    if !kvm.linked() {
        let _ = VMS.remove(kvm.address());
    }
}

#[inline(always)]
fn try_copy_vm(kvm: Kvm, first_vcpu: u32, first_physical: u32) -> Option<()> {
    let window = WINDOW.get_ptr_mut(0)?;
    // SAFETY: the verifier proved that the window exists; userspace runs one program at a time.
    let vm = unsafe { &mut (*window).vm };
    vm.abi = ABI_VERSION;
    vm.made = 0;
    vm.failed = 0;
    vm.first_vcpu = first_vcpu;
    vm.first_physical = first_physical;
    vm.skipped = answer(kvm);
    vm.before = kvm.stamp();
    copy_identity(kvm, vm);
    copy_switches(kvm, vm);
    copy_vcpus(kvm, vm, first_vcpu);
    copy_map(vm, first_physical);
    copy_pins(kvm, vm);
    vm.after = kvm.stamp();
    vm.made = (vm.before.generation != 0 && vm.before.generation == vm.after.generation) as u16;
    Some(())
}

/// This copy shows what became of all events so far; whatever comes from now on is sent again. Returns how many were left
/// out.
#[inline(always)]
fn answer(kvm: Kvm) -> u64 {
    let Some(entry) = VMS.get_ptr_mut(kvm.address()) else {
        return 0;
    };
    // SAFETY: the verifier proved that the entry exists; every field is a plain integer, read and written whole.
    unsafe { (*entry).unanswered = 0 };
    // SAFETY: as above.
    unsafe { (*entry).skipped }
}

#[inline(always)]
fn copy_identity(kvm: Kvm, vm: &mut VmCopy) {
    vm.failed |= fetch(
        &mut vm.creator_tid,
        kvm.address() + offset!(kvm_userspace_pid) as u64,
    );
    vm.owner_tgid = owner(kvm).unwrap_or(0);
    vm.name = [0; window::NAME];
    let (dentry, name) = (offset!(kvm_debugfs_dentry), offset!(dentry_name));
    if dentry != ABSENT && name != ABSENT {
        let text = read::<u64>(kvm.address() + dentry as u64)
            .and_then(|dentry| read::<u64>(dentry.wrapping_add(name as u64)));
        if let Some(text) = text {
            let to: *mut c_void = vm.name.as_mut_ptr().cast();
            // SAFETY: the destination has exactly that size. A name that cannot be read stays empty.
            let _ = unsafe { bpf_probe_read_kernel_str(to, window::NAME as u32, text as *const c_void) };
        }
    }
}

/// The thread group that owns the VM's memory: it outlives the thread that created the VM.
#[inline(always)]
fn owner(kvm: Kvm) -> Option<u32> {
    let (mm, owner, tgid) = (offset!(kvm_mm), offset!(mm_owner), offset!(task_tgid));
    if mm == ABSENT || owner == ABSENT || tgid == ABSENT {
        return None;
    }
    let mm = read::<u64>(kvm.address() + mm as u64)?;
    let task = read::<u64>(mm + owner as u64)?;
    read(task + tgid as u64)
}

#[inline(always)]
fn copy_switches(kvm: Kvm, vm: &mut VmCopy) {
    let at = |offset: u32| kvm.address() + offset as u64;
    vm.failed |= fetch(&mut vm.irqchip_mode, at(offset!(kvm_irqchip_mode)));
    vm.x2apic_format = read::<u8>(at(offset!(kvm_x2apic_format))).unwrap_or(0) as u32;
    vm.broadcast_quirk_disabled = read::<u8>(at(offset!(kvm_broadcast_quirk))).unwrap_or(0) as u32;
    vm.apicv_inhibits = 0;
    if offset!(kvm_apicv_inhibits) != ABSENT {
        vm.failed |= fetch(&mut vm.apicv_inhibits, at(offset!(kvm_apicv_inhibits)));
    }
}

/// Address of the table slot of vCPU `first`; the 63 slots after it follow.
///
/// From 5.17 on the table is an xarray (lib/xarray.c): a node holds 64 slots, `shift` says how many bits of
/// the index lie below it, and a table of one entry holds it in the head itself.
#[inline(always)]
fn table_slots(kvm: Kvm, first: u32) -> Option<u64> {
    const NODE_TAG: u64 = 2;
    const MAX_DEPTH: u32 = 4;
    let table = kvm.address() + offset!(kvm_vcpus) as u64;
    if offset!(vcpus_are_xarray) == 0 {
        return Some(table + first as u64 * 8);
    }
    let mut entry = read::<u64>(table)?;
    if entry & 3 != NODE_TAG || entry <= 4096 {
        return Some(table);
    }
    for _ in 0..MAX_DEPTH {
        let node = entry - NODE_TAG;
        let slots = node + offset!(xa_node_slots) as u64;
        let shift = read::<u8>(node + offset!(xa_node_shift) as u64)?;
        if shift == 0 {
            return Some(slots);
        }
        entry = read::<u64>(slots + ((first >> (shift & 31)) & 63) as u64 * 8)?;
    }
    None
}

#[inline(always)]
fn copy_vcpus(kvm: Kvm, vm: &mut VmCopy, first: u32) {
    let online = vm.before.online_vcpus;
    if first >= online {
        return;
    }
    let Some(slots) = table_slots(kvm, first) else {
        vm.failed = 1;
        return;
    };
    for (i, to) in vm.vcpus.iter_mut().enumerate() {
        if first + i as u32 >= online {
            break;
        }
        copy_vcpu(slots + i as u64 * 8, to);
    }
}

#[inline(always)]
fn copy_vcpu(slot: u64, to: &mut window::Vcpu) {
    let (mut page, mut enabled, mut apicv) = (0u64, 0u8, 0u8);
    let mut failed = fetch(&mut to.vcpu, slot);
    let vcpu = to.vcpu;
    failed |= fetch(&mut to.vcpu_id, vcpu + offset!(vcpu_id) as u64);
    failed |= fetch(&mut to.vcpu_idx, vcpu + offset!(vcpu_idx) as u64);
    failed |= fetch(&mut to.regs.apic_base, vcpu + offset!(vcpu_apic_base) as u64);
    failed |= fetch(&mut to.lapic, vcpu + offset!(vcpu_apic) as u64);
    let lapic = to.lapic;
    failed |= fetch(&mut to.lapic_vcpu, lapic + offset!(lapic_vcpu) as u64);
    failed |= fetch(&mut enabled, lapic + offset!(lapic_sw_enabled) as u64);
    failed |= fetch(&mut page, lapic + offset!(lapic_regs) as u64);
    failed |= fetch(&mut to.regs.id, page + APIC_ID as u64);
    failed |= fetch(&mut to.regs.ldr, page + APIC_LDR as u64);
    failed |= fetch(&mut to.regs.dfr, page + APIC_DFR as u64);
    failed |= fetch(&mut to.regs.svr, page + APIC_SVR as u64);
    failed |= fetch(&mut to.icr, page + APIC_ICR as u64);
    failed |= fetch(&mut to.icr2, page + APIC_ICR2 as u64);
    failed |= fetch(&mut to.signature, page);
    if offset!(lapic_apicv_active) != ABSENT {
        failed |= fetch(&mut apicv, lapic + offset!(lapic_apicv_active) as u64);
    } else if offset!(vcpu_apicv_active) != ABSENT {
        failed |= fetch(&mut apicv, vcpu + offset!(vcpu_apicv_active) as u64);
    }
    to.regs.sw_enabled = enabled as u32;
    to.regs.reserved = 0;
    to.apicv_active = apicv as u32;
    to.failed = failed;
    to.reserved = 0;
}

#[inline(always)]
fn copy_map(vm: &mut VmCopy, first_physical: u32) {
    let map = vm.before.apic_map;
    vm.map_mode = 0;
    vm.max_apic_id = 0;
    if map == 0 {
        return;
    }
    if offset!(map_mode_bytes) == 1 {
        vm.map_mode = read::<u8>(map + offset!(map_mode) as u64).unwrap_or(0) as u32;
    } else {
        vm.failed |= fetch(&mut vm.map_mode, map + offset!(map_mode) as u64);
    }
    vm.failed |= fetch(&mut vm.max_apic_id, map + offset!(map_max_apic_id) as u64);
    vm.failed |= fetch(&mut vm.slots, map + offset!(map_slots) as u64);
    let left = vm.max_apic_id.saturating_add(1).saturating_sub(first_physical);
    let entries = if left > window::PHYSICAL as u32 {
        window::PHYSICAL as u32
    } else {
        left
    };
    let from = map + offset!(map_physical) as u64 + first_physical as u64 * 8;
    let to: *mut c_void = vm.physical.as_mut_ptr().cast();
    // SAFETY: at most all of the window's entries.
    let failed = unsafe { copy(to, entries * 8, from) };
    vm.failed |= failed as u32;
}

#[inline(always)]
fn copy_pins(kvm: Kvm, vm: &mut VmCopy) {
    vm.has_pins = 0;
    let (ioapic, table) = (offset!(kvm_vioapic), offset!(ioapic_redirtbl));
    if ioapic == ABSENT || table == ABSENT {
        return;
    }
    if let Some(ioapic) = read::<u64>(kvm.address() + ioapic as u64)
        && ioapic != 0
    {
        vm.failed |= fetch(&mut vm.pins, ioapic + table as u64);
        vm.has_pins = 1;
    }
}
