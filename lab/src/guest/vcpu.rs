//! One vCPU: brought into 32-bit flat protected mode, then driven program by program on the calling thread.
//! Between programs it does not run at all, so a test sees its registers at rest. Host-side routes to its
//! local APIC (`KVM_SET_LAPIC`, APIC base) are here too; everything that concerns the whole VM is in `machine`.

use kvm_bindings::{CpuId, KVM_MP_STATE_RUNNABLE, kvm_dtable, kvm_mp_state, kvm_regs, kvm_segment};
use kvm_ioctls::{VcpuExit, VcpuFd};

use super::GuestError;
use super::lapic::LapicPage;
use super::layout::{self, CODE_SELECTOR, DATA_SELECTOR};
use super::memory::GuestMemory;
use super::program::{DONE_PORT, Op, REPORT_PORT, assemble};

/// Bytes of a vCPU's page that code may use; the rest is its stack.
const CODE_BYTES: usize = 3072;
const CR0_PE: u64 = 1;
const RFLAGS_RESERVED: u64 = 1 << 1;

#[derive(Debug)]
pub(super) struct Vcpu {
    pub(super) id: u32,
    index: usize,
    fd: VcpuFd,
    flat: bool,
}

impl Vcpu {
    pub(super) fn new(id: u32, index: usize, fd: VcpuFd, supported: &CpuId) -> Result<Self, GuestError> {
        let mut cpuid = supported.clone();
        for entry in cpuid.as_mut_slice() {
            match entry.function {
                1 => {
                    entry.ebx = (entry.ebx & 0x00FF_FFFF) | (id << 24);
                    entry.ecx |= 1 << 21;
                }
                0xB | 0x1F => entry.edx = id,
                _ => {}
            }
        }
        fd.set_cpuid2(&cpuid).map_err(GuestError::kvm("KVM_SET_CPUID2"))?;
        Ok(Self {
            id,
            index,
            fd,
            flat: false,
        })
    }

    /// Runs `program` to its end and returns what the guest reported on the way.
    pub(super) fn exec(&mut self, memory: &mut GuestMemory, program: &[Op]) -> Result<Vec<u32>, GuestError> {
        self.load(memory, program, 1)?;
        self.run_loaded()
    }

    /// Puts `program` into this vCPU's page, to run `rounds` times over at each [`Self::run_loaded`].
    pub(super) fn load(
        &mut self,
        memory: &mut GuestMemory,
        program: &[Op],
        rounds: u32,
    ) -> Result<(), GuestError> {
        let page = layout::code_page(self.index);
        let code = assemble(program, rounds, page)?;
        if code.len() > CODE_BYTES {
            return Err(GuestError::ProgramTooLong(code.len()));
        }
        memory.write(page, &code)
    }

    /// Runs the program that was loaded last to its end and returns what the guest reported on the way.
    pub(super) fn run_loaded(&mut self) -> Result<Vec<u32>, GuestError> {
        if !self.flat {
            self.enter_flat_mode()?;
        }
        let regs = kvm_regs {
            rip: u64::from(layout::code_page(self.index)),
            rsp: u64::from(layout::stack_top(self.index)),
            rflags: RFLAGS_RESERVED,
            ..kvm_regs::default()
        };
        self.fd.set_regs(&regs).map_err(GuestError::kvm("KVM_SET_REGS"))?;
        let reports = self.run_to_end()?;
        self.complete_last_exit()?;
        Ok(reports)
    }

    fn run_to_end(&mut self) -> Result<Vec<u32>, GuestError> {
        let mut reports = Vec::new();
        loop {
            match self.fd.run() {
                Ok(VcpuExit::IoOut(REPORT_PORT, &[a, b, c, d])) => {
                    reports.push(u32::from_le_bytes([a, b, c, d]))
                }
                Ok(VcpuExit::IoOut(DONE_PORT, _)) => return Ok(reports),
                Ok(VcpuExit::Intr) => {}
                Ok(exit) => {
                    return Err(GuestError::UnexpectedExit {
                        vcpu_id: self.id,
                        exit: format!("{exit:?}"),
                    });
                }
                Err(errno) if errno.errno() == libc::EINTR => {}
                Err(errno) => {
                    return Err(GuestError::Kvm {
                        call: "KVM_RUN",
                        source: errno,
                    });
                }
            }
        }
    }

    /// Lets KVM finish the `out` that ended the program, without running guest code: registers set from outside are
    /// only sound once no exit is pending (Documentation/virt/kvm/api.rst, KVM_RUN, "KVM_EXIT_IO").
    fn complete_last_exit(&mut self) -> Result<(), GuestError> {
        self.fd.set_kvm_immediate_exit(1);
        let outcome = self.fd.run().map(drop);
        self.fd.set_kvm_immediate_exit(0);
        match outcome {
            Err(errno) if errno.errno() != libc::EINTR => Err(GuestError::Kvm {
                call: "KVM_RUN",
                source: errno,
            }),
            _ => Ok(()),
        }
    }

    fn enter_flat_mode(&mut self) -> Result<(), GuestError> {
        let mut sregs = self.fd.get_sregs().map_err(GuestError::kvm("KVM_GET_SREGS"))?;
        let data = flat_segment(DATA_SELECTOR, 0x3);
        sregs.cs = flat_segment(CODE_SELECTOR, 0xB);
        for segment in [
            &mut sregs.ds,
            &mut sregs.es,
            &mut sregs.fs,
            &mut sregs.gs,
            &mut sregs.ss,
        ] {
            *segment = data;
        }
        sregs.gdt = kvm_dtable {
            base: u64::from(layout::GDT),
            limit: 3 * 8 - 1,
            ..kvm_dtable::default()
        };
        sregs.idt = kvm_dtable {
            base: u64::from(layout::IDT),
            limit: 256 * 8 - 1,
            ..kvm_dtable::default()
        };
        sregs.cr0 |= CR0_PE;
        self.fd
            .set_sregs(&sregs)
            .map_err(GuestError::kvm("KVM_SET_SREGS"))?;
        let runnable = kvm_mp_state {
            mp_state: KVM_MP_STATE_RUNNABLE,
        };
        self.fd
            .set_mp_state(runnable)
            .map_err(GuestError::kvm("KVM_SET_MP_STATE"))?;
        self.flat = true;
        Ok(())
    }

    /// Makes KVM act on an INIT that is pending for this vCPU. `KVM_GET_MP_STATE` accepts pending APIC events first
    /// (arch/x86/kvm/x86.c, kvm_arch_vcpu_ioctl_get_mpstate), so no guest code runs and nothing blocks.
    pub(super) fn accept_init(&mut self) -> Result<(), GuestError> {
        self.fd
            .get_mp_state()
            .map_err(GuestError::kvm("KVM_GET_MP_STATE"))?;
        // INIT took the vCPU back to real mode.
        self.flat = false;
        Ok(())
    }

    pub(super) fn lapic(&self) -> Result<LapicPage, GuestError> {
        self.fd
            .get_lapic()
            .map(LapicPage)
            .map_err(GuestError::kvm("KVM_GET_LAPIC"))
    }

    pub(super) fn set_lapic(&self, page: &LapicPage) -> Result<(), GuestError> {
        self.fd
            .set_lapic(&page.0)
            .map_err(GuestError::kvm("KVM_SET_LAPIC"))
    }

    pub(super) fn apic_base(&self) -> Result<u64, GuestError> {
        Ok(self
            .fd
            .get_sregs()
            .map_err(GuestError::kvm("KVM_GET_SREGS"))?
            .apic_base)
    }

    pub(super) fn set_apic_base(&self, apic_base: u64) -> Result<(), GuestError> {
        let mut sregs = self.fd.get_sregs().map_err(GuestError::kvm("KVM_GET_SREGS"))?;
        sregs.apic_base = apic_base;
        self.fd
            .set_sregs(&sregs)
            .map_err(GuestError::kvm("KVM_SET_SREGS"))
    }
}

/// A present, ring-0, 32-bit segment over all 4 GiB; `type_` is 0xB for code, 0x3 for data.
fn flat_segment(selector: u16, type_: u8) -> kvm_segment {
    kvm_segment {
        base: 0,
        limit: u32::MAX,
        selector,
        type_,
        present: 1,
        dpl: 0,
        db: 1,
        s: 1,
        l: 0,
        g: 1,
        ..kvm_segment::default()
    }
}
