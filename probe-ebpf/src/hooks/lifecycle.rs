//! Birth and death of VMs and vCPUs. Kernels reuse the address of a `struct kvm` at once, so a birth gives
//! the address a new birth number and a death takes it out. Kprobes alone: these functions are cold, and a birth must be
//! heard while nothing pins the module.

use aya_ebpf::{macros::kprobe, programs::ProbeContext};
use probe_common::event::kind;

use crate::{
    emit::{self, Birth, Count},
    kvm::{Kvm, Vcpu},
    maps::{VMS, VmEntry},
};

/// `int kvm_arch_init_vm(struct kvm *kvm, unsigned long type)`, arch/x86/kvm/x86.c, 5.10 to 7.3. The VM is
/// not on KVM's list yet and its creation may still fail: userspace believes in it once it is listed.
#[kprobe]
fn vm_born(ctx: ProbeContext) -> u32 {
    if let Some(address) = ctx.arg::<u64>(0) {
        try_vm_born(&ctx, Kvm::at(address));
    }
    0
}

#[inline(always)]
fn try_vm_born(ctx: &ProbeContext, kvm: Kvm) {
    let Some(generation) = emit::birth_number(ctx, Birth::Seen) else {
        return;
    };
    let entry = VmEntry::new(generation, 0);
    if VMS.insert(kvm.address(), entry, 0).is_err() {
        emit::count(Count::Untracked);
        return;
    }
    emit::event(kind::VM_BORN, kvm, Some(entry), |_| ());
}

/// `void kvm_arch_destroy_vm(struct kvm *kvm)`, arch/x86/kvm/x86.c, 5.10 to 7.3. Entered after the VM left
/// KVM's list, also when a creation failed late.
#[kprobe]
fn vm_gone(ctx: ProbeContext) -> u32 {
    if let Some(address) = ctx.arg::<u64>(0) {
        let kvm = <Kvm>::at(address);
        let entry = kvm.entry();
        // A VM that was never entered is no error: ldrscope may have started after its list walk.
        let _ = VMS.remove(address);
        emit::event(kind::VM_GONE, kvm, entry, |_| ());
    }
    0
}

/// `void kvm_arch_vcpu_postcreate(struct kvm_vcpu *vcpu)`, arch/x86/kvm/x86.c, 5.10 to 7.3. `online_vcpus`
/// has been raised and the descriptor installed.
#[kprobe]
fn vcpu_born(ctx: ProbeContext) -> u32 {
    if let Some(address) = ctx.arg::<u64>(0) {
        let _ = try_vcpu_born(Vcpu::at(address));
    }
    0
}

#[inline(always)]
fn try_vcpu_born(vcpu: Vcpu) -> Option<()> {
    let kvm = vcpu.kvm()?;
    let id = vcpu.id()?;
    if let Some(entry) = VMS.get_ptr_mut(kvm.address()) {
        // SAFETY: the verifier proved that the entry exists; KVM makes the vCPUs of a VM one after the other.
        unsafe { (*entry).vcpus += 1 };
    }
    emit::event(kind::VCPU_BORN, kvm, kvm.entry(), |draft| draft.vcpu(id));
    Some(())
}
