//! The canary itself: a VM with one vCPU, KVM's own interrupt controllers and one interrupt route.
//!
//! What of it must be seen is [`super`]'s business.

use kvm_bindings::{
    KVM_IRQ_ROUTING_MSI, KvmIrqRouting, kvm_irq_routing_entry, kvm_irq_routing_entry__bindgen_ty_1,
    kvm_irq_routing_msi, kvm_irq_routing_msi__bindgen_ty_1, kvm_msi,
};
use kvm_ioctls::{Kvm, VcpuFd, VmFd};
use probe_common::{
    regs::{APIC_LDR, APIC_SVR},
    window::CANARY_SIGNATURE,
};

use crate::kernel::obstacle::Obstacle;

/// What the canary's LAPIC is set to.
pub(super) struct State {
    pub(super) ldr: u32,
    pub(super) svr: u32,
}

impl State {
    pub(super) const fn enabled(&self) -> bool {
        self.svr & 0x100 != 0
    }
}

/// A route as KVM keeps it.
pub(super) struct Message {
    pub(super) gsi: u32,
    /// `KVM_IRQ_ROUTING_*`.
    pub(super) kind: u32,
    /// Lower and upper half of the address, data: any three that differ. Nothing ever raises it.
    pub(super) words: [u32; 3],
}

/// The canary's one route.
pub(super) const MESSAGE: Message = Message {
    gsi: 3,
    kind: KVM_IRQ_ROUTING_MSI,
    words: [0xFEE0_4004, 0x100, 0xFE],
};

const ROUTING: &str = "routing an interrupt of it";

/// The VM. Dropping it ends it.
pub(super) struct Canary {
    // In the order in which they are closed.
    vcpu: VcpuFd,
    vm: VmFd,
}

/// Where an interrupt is sent that is to be counted, and its vector.
pub(super) const INTERRUPT: (u8, u8) = (0x40, 0xFD);

impl Canary {
    /// Makes it, with a LAPIC as after a reset.
    pub(super) fn create() -> Result<Self, Obstacle> {
        let kvm = Kvm::new().map_err(failed("opening /dev/kvm"))?;
        let vm = kvm.create_vm().map_err(failed("creating a VM"))?;
        vm.create_irq_chip()
            .map_err(failed("creating its interrupt controllers"))?;
        let routing = KvmIrqRouting::from_entries(&[entry(&MESSAGE)])
            .map_err(|_| failed(ROUTING)(kvm_ioctls::Error::new(libc::E2BIG)))?;
        vm.set_gsi_routing(&routing).map_err(failed(ROUTING))?;
        let vcpu = vm.create_vcpu(0).map_err(failed("creating its vCPU"))?;
        Ok(Self { vcpu, vm })
    }

    /// Sets its LAPIC, signature included.
    pub(super) fn set(&self, state: &State) -> Result<(), Obstacle> {
        let mut page = self.vcpu.get_lapic().map_err(failed("reading its LAPIC"))?;
        write(&mut page.regs, 0, &CANARY_SIGNATURE);
        write(&mut page.regs, APIC_LDR as usize, &state.ldr.to_le_bytes());
        write(&mut page.regs, APIC_SVR as usize, &state.svr.to_le_bytes());
        self.vcpu.set_lapic(&page).map_err(failed("setting its LAPIC"))
    }

    /// Sends it an interrupt to a logical destination.
    pub(super) fn interrupt(&self) -> Result<(), Obstacle> {
        const LOGICAL: u32 = 1 << 2;
        let (dest, vector) = INTERRUPT;
        let message = kvm_msi {
            address_lo: 0xFEE0_0000 | u32::from(dest) << 12 | LOGICAL,
            data: vector.into(),
            ..kvm_msi::default()
        };
        match self.vm.signal_msi(message) {
            // Nobody takes it, which a scan answers with EPERM.
            Err(errno) if errno.errno() != libc::EPERM => Err(failed("sending it an interrupt")(errno)),
            _ => Ok(()),
        }
    }
}

fn entry(message: &Message) -> kvm_irq_routing_entry {
    let [address_lo, address_hi, data] = message.words;
    kvm_irq_routing_entry {
        gsi: message.gsi,
        type_: message.kind,
        flags: 0,
        pad: 0,
        u: kvm_irq_routing_entry__bindgen_ty_1 {
            msi: kvm_irq_routing_msi {
                address_lo,
                address_hi,
                data,
                __bindgen_anon_1: kvm_irq_routing_msi__bindgen_ty_1 { pad: 0 },
            },
        },
    }
}

fn failed(step: &'static str) -> impl Fn(kvm_ioctls::Error) -> Obstacle {
    move |error| Obstacle::CanaryFailed {
        step,
        source: std::io::Error::from_raw_os_error(error.errno()).into(),
    }
}

fn write(page: &mut [std::ffi::c_char], at: usize, bytes: &[u8]) {
    for (to, &byte) in page[at..].iter_mut().zip(bytes) {
        *to = byte.cast_signed();
    }
}
