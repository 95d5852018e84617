//! A whole guest: an in-kernel irqchip, optionally a PIT, one memory region and vCPUs created in the order
//! asked for. It offers the two sides from which APIC state changes: guest code (`exec`) and the VMM
//! (`set_lapic`, `signal`, ...). What a scenario does with them is for `scenario` and the cases.

mod at_once;

use std::collections::HashMap;
use std::sync::OnceLock;

use kvm_bindings::{CpuId, KVM_CAP_X2APIC_API, KVM_MAX_CPUID_ENTRIES, kvm_enable_cap, kvm_pit_config};
use kvm_ioctls::{Kvm, VmFd};

use super::GuestError;
use super::irqchip::Irqchip;
use super::lapic::{ApicReg, ICR_INIT, LapicPage, ldr};
use super::layout::{self, CODE_SELECTOR, FLAT_SEGMENTS, GDT, IDT, TICKS, TIMER_HANDLER, TIMER_VECTOR};
use super::memory::GuestMemory;
use super::msi::Msi;
use super::program::{Op, assemble_timer_handler};
use super::routing::{self, MsiRoute};
use super::timing;
use super::vcpu::Vcpu;

/// What KVM supports, asked once: on an emulated host that takes as long as to make a vCPU.
static SUPPORTED: OnceLock<CpuId> = OnceLock::new();

/// A VM with its vCPUs. Dropping it ends the VM.
#[derive(Debug)]
pub struct Guest {
    vcpus: Vec<Vcpu>,
    index_of: HashMap<u32, usize>,
    supported: &'static CpuId,
    irqchip: Irqchip,
    // Dropped after every descriptor of the VM that maps it.
    vm: VmFd,
    /// Mapped when guest code first runs: a guest that only the VMM touches needs none, and is made sooner.
    memory: Option<GuestMemory>,
}

impl Guest {
    /// A VM with vCPUs 0 to `count - 1`, created in that order, and no PIT.
    pub fn with_vcpus(count: u32) -> Result<Self, GuestError> {
        Self::with_vcpu_ids(0..count)
    }

    /// A VM whose vCPUs are created in the order of `ids`, and no PIT.
    pub fn with_vcpu_ids(ids: impl IntoIterator<Item = u32>) -> Result<Self, GuestError> {
        let mut guest = Self::empty(Irqchip::Full)?;
        for id in ids {
            guest.add_vcpu(id)?;
        }
        Ok(guest)
    }

    /// Like [`Guest::with_vcpus`], with the local APICs alone in KVM: PICs and IOAPIC would be the VMM's.
    pub fn with_split_irqchip(count: u32) -> Result<Self, GuestError> {
        let mut guest = Self::empty(Irqchip::Split)?;
        for id in 0..count {
            guest.add_vcpu(id)?;
        }
        Ok(guest)
    }

    /// Like [`Guest::with_vcpus`], with a PIT wired to IOAPIC pin 2 as on every PC.
    pub fn with_timer(count: u32) -> Result<Self, GuestError> {
        let mut guest = Self::empty(Irqchip::Full)?;
        guest
            .vm
            .create_pit2(kvm_pit_config::default())
            .map_err(GuestError::kvm("KVM_CREATE_PIT2"))?;
        guest
            .vm
            .set_gsi_routing(&routing::pc()?)
            .map_err(GuestError::kvm("KVM_SET_GSI_ROUTING"))?;
        for id in 0..count {
            guest.add_vcpu(id)?;
        }
        Ok(guest)
    }

    /// A VM without vCPUs.
    pub fn empty(irqchip: Irqchip) -> Result<Self, GuestError> {
        let kvm = Kvm::new().map_err(GuestError::NoKvm)?;
        let supported = match SUPPORTED.get() {
            Some(supported) => supported,
            None => {
                let supported = kvm
                    .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
                    .map_err(GuestError::kvm("KVM_GET_SUPPORTED_CPUID"))?;
                SUPPORTED.get_or_init(|| supported)
            }
        };
        let vm = kvm.create_vm().map_err(GuestError::kvm("KVM_CREATE_VM"))?;
        vm.set_tss_address(layout::TSS)
            .map_err(GuestError::kvm("KVM_SET_TSS_ADDR"))?;
        irqchip.create_in(&vm)?;
        Ok(Self {
            vcpus: Vec::new(),
            index_of: HashMap::new(),
            supported,
            irqchip,
            vm,
            memory: None,
        })
    }

    /// Turns on flags of KVM_CAP_X2APIC_API, such as `KVM_X2APIC_API_USE_32BIT_IDS`; those that are on stay on.
    pub fn enable_x2apic_api(&self, flags: u32) -> Result<(), GuestError> {
        let mut cap = kvm_enable_cap {
            cap: KVM_CAP_X2APIC_API,
            ..kvm_enable_cap::default()
        };
        cap.args[0] = u64::from(flags);
        self.vm
            .enable_cap(&cap)
            .map_err(GuestError::kvm("KVM_ENABLE_CAP"))
    }

    /// Replaces the whole routing (`KVM_SET_GSI_ROUTING`): a PC's lines, where KVM has their controllers, and these
    /// messages.
    pub fn route_messages(&self, messages: &[MsiRoute]) -> Result<(), GuestError> {
        let routing = match self.irqchip {
            Irqchip::Full => routing::pc_with(messages)?,
            Irqchip::Split | Irqchip::Vmm => routing::messages(messages)?,
        };
        self.vm
            .set_gsi_routing(&routing)
            .map_err(GuestError::kvm("KVM_SET_GSI_ROUTING"))
    }

    /// Creates one more vCPU (hot-plug, if others have run already).
    pub fn add_vcpu(&mut self, id: u32) -> Result<(), GuestError> {
        let index = self.vcpus.len();
        let fd = self
            .vm
            .create_vcpu(u64::from(id))
            .map_err(GuestError::kvm("KVM_CREATE_VCPU"))?;
        self.vcpus.push(Vcpu::new(id, index, fd, self.supported)?);
        self.index_of.insert(id, index);
        Ok(())
    }

    /// The vCPU ids in order of creation.
    pub fn vcpu_ids(&self) -> Vec<u32> {
        self.vcpus.iter().map(|vcpu| vcpu.id).collect()
    }

    /// Runs `program` on vCPU `id` to its end and returns what the guest reported.
    pub fn exec(&mut self, id: u32, program: &[Op]) -> Result<Vec<u32>, GuestError> {
        let index = self.index(id)?;
        let (vcpus, memory) = self.vcpus_and_memory()?;
        vcpus[index].exec(memory, program)
    }

    /// Everything that guest code takes; maps the memory if there is none yet.
    fn vcpus_and_memory(&mut self) -> Result<(&mut [Vcpu], &mut GuestMemory), GuestError> {
        let memory = match &mut self.memory {
            Some(memory) => memory,
            none => none.insert(furnished_memory(&self.vm)?),
        };
        Ok((&mut self.vcpus, memory))
    }

    /// Like [`Guest::exec`] for a program that reports exactly one value.
    pub fn exec_one(&mut self, id: u32, program: &[Op]) -> Result<u32, GuestError> {
        match self.exec(id, program)?.as_slice() {
            [value] => Ok(*value),
            reports => Err(GuestError::Reports {
                vcpu_id: id,
                got: reports.len(),
                wanted: 1,
            }),
        }
    }

    /// Runs `program` `rounds` times over on vCPU `id` and returns what its timed operations took, in ticks of the
    /// time-stamp counter, in order.
    pub fn exec_timed(&mut self, id: u32, program: &[Op], rounds: u32) -> Result<Vec<u32>, GuestError> {
        let index = self.index(id)?;
        let (vcpus, memory) = self.vcpus_and_memory()?;
        vcpus[index].load(memory, program, rounds)?;
        vcpus[index].run_loaded()?;
        let timed = program.iter().filter(|op| matches!(op, Op::TimedApicWrite(..)));
        timing::samples(memory, rounds * timed.count() as u32)
    }

    /// Guest code on vCPU `id` sets DFR, LDR and SVR, in the order in which Linux's `setup_local_APIC` does.
    pub fn write_logical_id(
        &mut self,
        id: u32,
        dfr: u32,
        logical_id: u8,
        svr: u32,
    ) -> Result<(), GuestError> {
        let program = [
            Op::ApicWrite(ApicReg::Dfr, dfr),
            Op::ApicWrite(ApicReg::Ldr, ldr(logical_id)),
            Op::ApicWrite(ApicReg::Svr, svr),
        ];
        self.exec(id, &program).map(drop)
    }

    /// Guest code on vCPU `sender` sends an INIT IPI to the xAPIC with physical ID `target`, and KVM carries it out.
    pub fn send_init(&mut self, sender: u32, target: u32) -> Result<(), GuestError> {
        let program = [
            Op::ApicWrite(ApicReg::IcrHigh, target << 24),
            Op::ApicWrite(ApicReg::IcrLow, ICR_INIT),
        ];
        self.exec(sender, &program)?;
        self.accept_init(target)
    }

    /// Has KVM carry out an INIT that is pending for vCPU `id`.
    pub fn accept_init(&mut self, id: u32) -> Result<(), GuestError> {
        let index = self.index(id)?;
        self.vcpus[index].accept_init()
    }

    /// Guest code on vCPU `id` faults until the processor shuts down, as in a kernel that panics without a handler left.
    pub fn crash(&mut self, id: u32) -> Result<(), GuestError> {
        match self.exec(id, &[Op::Crash]) {
            Err(GuestError::UnexpectedExit { exit, .. }) if exit == "Shutdown" => Ok(()),
            other => other.and(Err(GuestError::UnexpectedExit {
                vcpu_id: id,
                exit: "none: the guest survived".to_owned(),
            })),
        }
    }

    /// How often the timer's interrupt handler has run since it was last reset.
    pub fn ticks(&self) -> Result<u32, GuestError> {
        self.memory
            .as_ref()
            .map_or(Ok(0), |memory| memory.read_u32(TICKS))
    }

    /// The register page of vCPU `id` (`KVM_GET_LAPIC`).
    pub fn lapic(&self, id: u32) -> Result<LapicPage, GuestError> {
        self.vcpus[self.index(id)?].lapic()
    }

    /// Replaces the register page of vCPU `id` (`KVM_SET_LAPIC`), as a VMM does on restore.
    pub fn set_lapic(&self, id: u32, page: &LapicPage) -> Result<(), GuestError> {
        self.vcpus[self.index(id)?].set_lapic(page)
    }

    /// Sets some registers of vCPU `id` in one `KVM_SET_LAPIC`, leaving the rest as they are.
    pub fn edit_lapic(&self, id: u32, registers: &[(ApicReg, u32)]) -> Result<(), GuestError> {
        let mut page = self.lapic(id)?;
        for (reg, value) in registers {
            page.set(*reg, *value);
        }
        self.set_lapic(id, &page)
    }

    /// The IA32_APIC_BASE of vCPU `id`.
    pub fn apic_base(&self, id: u32) -> Result<u64, GuestError> {
        self.vcpus[self.index(id)?].apic_base()
    }

    /// Sets IA32_APIC_BASE of vCPU `id` from outside (`KVM_SET_SREGS`).
    pub fn set_apic_base(&self, id: u32, apic_base: u64) -> Result<(), GuestError> {
        self.vcpus[self.index(id)?].set_apic_base(apic_base)
    }

    /// Injects an edge-triggered MSI (`KVM_SIGNAL_MSI`). Nobody taking it is no error here: look at
    /// [`Guest::requesting`].
    pub fn signal(&self, msi: &Msi) -> Result<(), GuestError> {
        match self.vm.signal_msi(msi.encode()) {
            // With no vCPU to take it, the scan answers -1, which userspace sees as EPERM.
            Err(errno) if errno.errno() != libc::EPERM => Err(GuestError::Kvm {
                call: "KVM_SIGNAL_MSI",
                source: errno,
            }),
            _ => Ok(()),
        }
    }

    /// Sends an INIT to the physical destination `dest` from outside, and KVM carries it out on every vCPU that took it.
    pub fn signal_init(&mut self, dest: u32) -> Result<(), GuestError> {
        self.signal(&Msi::init(dest))?;
        self.vcpus.iter_mut().try_for_each(Vcpu::accept_init)
    }

    /// The vCPUs in whose interrupt request register `vector` is pending, ascending.
    pub fn requesting(&self, vector: u8) -> Result<Vec<u32>, GuestError> {
        let mut ids = Vec::new();
        for vcpu in &self.vcpus {
            if vcpu.lapic()?.requests().contains(vector) {
                ids.push(vcpu.id);
            }
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// Closes the VMM's descriptor of the vCPU that was created last. The VM keeps the vCPU itself, as of one that a VMM
    /// unplugged.
    pub fn close_last_vcpu(&mut self) {
        if let Some(vcpu) = self.vcpus.pop() {
            self.index_of.remove(&vcpu.id);
        }
    }

    fn index(&self, id: u32) -> Result<usize, GuestError> {
        self.index_of.get(&id).copied().ok_or(GuestError::NoVcpu(id))
    }
}

/// The memory of `vm`, with what every vCPU shares.
fn furnished_memory(vm: &VmFd) -> Result<GuestMemory, GuestError> {
    let mut memory = GuestMemory::new()?;
    memory.attach(vm)?;
    write_tables(&mut memory)?;
    Ok(memory)
}

/// The descriptor tables and the handler that every vCPU shares.
fn write_tables(memory: &mut GuestMemory) -> Result<(), GuestError> {
    const INTERRUPT_GATE: u64 = 0x8E00;
    let gdt: Vec<u8> = FLAT_SEGMENTS.into_iter().flat_map(u64::to_le_bytes).collect();
    memory.write(GDT, &gdt)?;
    memory.write(TIMER_HANDLER, &assemble_timer_handler(TIMER_HANDLER)?)?;
    let handler = u64::from(TIMER_HANDLER);
    let gate =
        (handler & 0xFFFF) | u64::from(CODE_SELECTOR) << 16 | INTERRUPT_GATE << 32 | (handler >> 16) << 48;
    memory.write(IDT + u32::from(TIMER_VECTOR) * 8, &gate.to_le_bytes())
}
