//! The paths of KVM that are timed, each with the guest that takes it.

use std::arch::x86_64::_rdtsc;

use crate::cases::CaseError;
use crate::guest::lapic::{ApicReg, DFR_FLAT, LapicPage, SVR_ENABLED, ldr};
use crate::guest::{Guest, GuestError, Msi, Op};

/// Operations in a block of a path that changes nothing.
const QUIET_OPERATIONS: u32 = 1000;
/// Operations in a block of a path that brings events about: fewer than the kernel side sends of one VM before somebody
/// reads them.
const TOLD_OPERATIONS: u32 = 120;

/// A path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// A guest signals the end of an interrupt.
    Eoi,
    /// A guest writes its task priority.
    Tpr,
    /// A guest sends an interrupt to a physical destination that nobody has.
    Icr,
    /// A guest arms its timer, masked.
    Timer,
    /// A guest's vCPU writes its LDR, one of so many vCPUs: KVM recalculates the map over all of them.
    Ldr(u32),
    /// A VMM restores the LAPIC of one of so many vCPUs.
    SetLapic(u32),
    /// KVM carries out an INIT on one of so many vCPUs.
    Init(u32),
    /// A guest sends an interrupt to a logical destination that nobody has.
    Logical,
    /// A VMM sends one.
    LogicalMsi,
}

impl Path {
    /// Sizes of guests, in vCPUs.
    const SIZES: [u32; 5] = [1, 8, 64, 255, 1024];

    /// All of them that ldrscope by itself must not or may make dearer. What it counts when it is asked to, [`Self::Logical`] and
    /// [`Self::LogicalMsi`], is measured by name.
    pub fn all() -> Vec<Self> {
        let quiet = [Self::Eoi, Self::Tpr, Self::Icr, Self::Timer];
        let told = [Self::Ldr, Self::SetLapic, Self::Init];
        let told = told.into_iter().flat_map(|path| Self::SIZES.map(path));
        quiet.into_iter().chain(told).collect()
    }

    /// Its word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Eoi => "eoi",
            Self::Tpr => "tpr",
            Self::Icr => "icr",
            Self::Timer => "timer",
            Self::Ldr(_) => "ldr",
            Self::SetLapic(_) => "set-lapic",
            Self::Init(_) => "init",
            Self::Logical => "logical",
            Self::LogicalMsi => "logical-msi",
        }
    }

    /// vCPUs of its guest.
    pub const fn vcpus(self) -> u32 {
        match self {
            Self::Eoi | Self::Tpr | Self::Icr | Self::Timer | Self::Logical | Self::LogicalMsi => 1,
            Self::Ldr(vcpus) | Self::SetLapic(vcpus) | Self::Init(vcpus) => vcpus,
        }
    }

    /// Its guest, ready.
    pub(super) fn rig(self) -> Result<Rig, GuestError> {
        let guest = Guest::with_vcpus(self.vcpus())?;
        // One claim a vCPU up to eight; the rest has no logical ID, as in a guest in physical mode.
        for id in 0..self.vcpus() {
            let logical = 1u8.checked_shl(id).unwrap_or(0);
            guest.edit_lapic(
                id,
                &[
                    (ApicReg::Dfr, DFR_FLAT),
                    (ApicReg::Ldr, ldr(logical)),
                    (ApicReg::Svr, SVR_ENABLED),
                ],
            )?;
        }
        let page = guest.lapic(0)?;
        Ok(Rig {
            path: self,
            guest,
            page,
        })
    }
}

/// A path's guest.
#[derive(Debug)]
pub(super) struct Rig {
    pub(super) path: Path,
    guest: Guest,
    /// The LAPIC of vCPU 0 as it was made.
    page: LapicPage,
}

impl Rig {
    /// One block: what each operation took, in ticks of the time-stamp counter.
    pub(super) fn block(&mut self) -> Result<Vec<u64>, CaseError> {
        let timed = Op::TimedApicWrite;
        match self.path {
            Path::Eoi => self.by_guest(&[timed(ApicReg::Eoi, 0)], QUIET_OPERATIONS),
            Path::Tpr => self.by_guest(&[timed(ApicReg::Tpr, 0x10)], QUIET_OPERATIONS),
            Path::Icr => {
                let nobody = Op::ApicWrite(ApicReg::IcrHigh, 0xEE << 24);
                self.by_guest(&[nobody, timed(ApicReg::IcrLow, 0x40)], QUIET_OPERATIONS)
            }
            Path::Timer => self.by_guest(
                &[timed(ApicReg::TimerInitialCount, 0x7FFF_FFFF)],
                QUIET_OPERATIONS,
            ),
            Path::Ldr(_) => {
                let two = [timed(ApicReg::Ldr, ldr(0x02)), timed(ApicReg::Ldr, ldr(0x01))];
                self.by_guest(&two, TOLD_OPERATIONS / 2)
            }
            Path::SetLapic(_) => (0..TOLD_OPERATIONS)
                .map(|i| {
                    let mut page = self.page;
                    page.set(ApicReg::Ldr, ldr(1 << (i & 1)));
                    host_timed(|| self.guest.set_lapic(0, &page))
                })
                .collect(),
            Path::Logical => {
                let nobody = Op::ApicWrite(ApicReg::IcrHigh, 0x80 << 24);
                let send = timed(ApicReg::IcrLow, 1 << 11 | 0x40);
                self.by_guest(&[nobody, send], TOLD_OPERATIONS)
            }
            Path::LogicalMsi => (0..TOLD_OPERATIONS)
                .map(|_| host_timed(|| self.guest.signal(&Msi::logical(0x80, 0x40))))
                .collect(),
            Path::Init(_) => (0..TOLD_OPERATIONS)
                .map(|_| {
                    self.guest.set_lapic(0, &self.page)?;
                    self.guest.signal(&Msi::init(0))?;
                    host_timed(|| self.guest.accept_init(0))
                })
                .collect(),
        }
    }

    fn by_guest(&mut self, program: &[Op], rounds: u32) -> Result<Vec<u64>, CaseError> {
        let samples = self.guest.exec_timed(0, program, rounds)?;
        Ok(samples.into_iter().map(u64::from).collect())
    }
}

fn host_timed(operation: impl FnOnce() -> Result<(), GuestError>) -> Result<u64, CaseError> {
    let before = ticks();
    operation()?;
    Ok(ticks() - before)
}

fn ticks() -> u64 {
    // SAFETY: every CPU of this architecture has the instruction; it touches no memory.
    unsafe { _rdtsc() }
}
