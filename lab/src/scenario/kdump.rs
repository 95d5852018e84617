//! The 2019 failure. A 32-bit guest with 16 CPUs ran the bigsmp APIC driver, which works in physical mode yet
//! writes `LDR = APIC ID << 24`. CPU 0 crashes into a kdump kernel, which writes its own LDR alone, routes the
//! PIT's pin to logical destination 0x01 and waits. Whether the interrupt comes depends on what the host's KVM
//! made of the LDRs that the other fifteen left behind.

use crate::guest::lapic::{ApicReg, DFR_FLAT, SVR_DISABLED, SVR_ENABLED, ldr};
use crate::guest::layout::TIMER_VECTOR;
use crate::guest::{Guest, GuestError, Op, TIMER_PIN};

/// The logical destination of the kdump kernel's timer: the logical ID that its only CPU took.
pub const TIMER_DEST: u8 = 0x01;

/// The CPU that crashes and runs the kdump kernel.
const CRASHING: u32 = 0;
const VCPUS: u32 = 16;
/// PIT input clock over 100 Hz, as Linux programs it for calibration.
const PIT_DIVISOR: u16 = 11_932;
/// Interrupts after which the guest believes in its timer.
const ENOUGH_TICKS: u32 = 3;
/// Rounds that the guest waits before it gives up: some fifty timer periods under emulation.
const PATIENCE: u32 = 60_000_000;

/// What the crashing kernel did with the APICs of the other CPUs before it jumped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadCpus {
    /// Nothing: they stay software-enabled and keep their LDRs.
    LeftEnabled,
    /// Each cleared its own SVR bit 8; the LDRs stay as well.
    Disabled,
}

/// The guest, in the middle of its story.
#[derive(Debug)]
pub struct Kdump {
    guest: Guest,
}

impl Kdump {
    /// Boots the first kernel: 16 vCPUs, DFR flat, `LDR = APIC ID << 24`, software-enabled, physical mode.
    pub fn boot_bigsmp() -> Result<Self, GuestError> {
        let mut guest = Guest::with_timer(VCPUS)?;
        guest.exec(CRASHING, &[Op::Out8(0x21, 0xFF), Op::Out8(0xA1, 0xFF)])?;
        for id in 0..VCPUS {
            guest.write_logical_id(id, DFR_FLAT, id as u8, SVR_ENABLED)?;
        }
        Ok(Self { guest })
    }

    /// The crash and the kdump kernel's first APIC set-up: CPU 0 switches its APIC off and on again and takes logical
    /// ID 0x01. The other CPUs never run again.
    pub fn crash(&mut self, others: DeadCpus) -> Result<(), GuestError> {
        if others == DeadCpus::Disabled {
            for id in (0..VCPUS).filter(|id| *id != CRASHING) {
                self.guest
                    .exec(id, &[Op::ApicWrite(ApicReg::Svr, SVR_DISABLED)])?;
            }
        }
        self.guest
            .exec(CRASHING, &[Op::ApicWrite(ApicReg::Svr, SVR_DISABLED)])?;
        self.guest
            .write_logical_id(CRASHING, DFR_FLAT, TIMER_DEST, SVR_ENABLED)
    }

    /// The kdump kernel starts PIT channel 0 (mode 2) and opens its IOAPIC pin: fixed, edge, logical destination 0x01.
    pub fn arm_timer(&mut self) -> Result<(), GuestError> {
        const DESTINATION_LOGICAL: u32 = 1 << 11;
        let redirection = 0x10 + 2 * TIMER_PIN;
        let [low, high] = PIT_DIVISOR.to_le_bytes();
        let program = [
            Op::ResetTicks,
            Op::IoapicWrite(redirection + 1, ldr(TIMER_DEST)),
            Op::IoapicWrite(redirection, DESTINATION_LOGICAL | u32::from(TIMER_VECTOR)),
            Op::Out8(0x43, 0x34),
            Op::Out8(0x40, low),
            Op::Out8(0x40, high),
        ];
        self.guest.exec(CRASHING, &program).map(drop)
    }

    /// The kdump kernel enables interrupts and waits. Returns how many timer interrupts it counted: at least three if
    /// they come, 0 if it gave up.
    pub fn await_timer(&mut self) -> Result<u32, GuestError> {
        let wait = Op::AwaitTicks {
            ticks: ENOUGH_TICKS,
            rounds: PATIENCE,
        };
        self.guest
            .exec_one(CRASHING, &[Op::Interrupts(true), wait, Op::Interrupts(false)])
    }

    /// The vCPUs at which the timer interrupt is pending, ascending.
    pub fn timer_pending_at(&self) -> Result<Vec<u32>, GuestError> {
        self.guest.requesting(TIMER_VECTOR)
    }

    /// The guest itself.
    pub fn guest(&self) -> &Guest {
        &self.guest
    }
}
