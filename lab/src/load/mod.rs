//! Guests that keep KVM busy: what a hostile guest or a busy VMM does to APIC state, as fast as it can, in a process of
//! its own. [`process`] starts and drives one from a case; here is what it does, and how it is told to.
//!
//! A load obeys lines on its standard input: `start`, then `stop` at once or `finish` when it is through, upon which it
//! says how much it did; `settle` to bring its guests into the end state. It ends with its input. What ldrscope makes of it is for the cases.

mod churn;
mod flapping;
mod process;
mod restore;
mod storm;

use std::io::{self, BufRead, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use clap::{Args, ValueEnum};

use crate::guest::lapic::{
    APIC_BASE_BSP, APIC_BASE_ENABLED, ApicReg, DFR_CLUSTER, DFR_FLAT, SVR_ENABLED, cluster_id, ldr,
};
use crate::guest::{Guest, GuestError, layout};

pub use process::{LoadError, LoadProcess};
pub use restore::is_whole;

/// What a load does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Nothing but hold its guests.
    Idle,
    /// Every vCPU's guest code writes its LDR as fast as it can.
    Storm,
    /// vCPU 1 takes vCPU 0's slot and gives it back, some fifty times a second.
    Flapping,
    /// A VMM that sets whole LAPICs of its VMs, while another of its threads switches them off and on.
    Restore,
    /// VMs that come, collide and go. The ones that `--vms` counts are made once each.
    Churn,
}

/// The state in which a load leaves its guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum End {
    /// One slot each: flat up to 8 vCPUs, clusters up to 60.
    Sane,
    /// Logical flat, slot 0 for all.
    Colliding,
}

/// One load.
#[derive(Debug, Clone, Copy, Args)]
pub struct Load {
    /// What it does
    pub kind: Kind,
    /// VMs
    #[arg(long, default_value_t = 1)]
    pub vms: u32,
    /// vCPUs of each
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=255))]
    pub vcpus: u32,
    /// How it leaves its guests, and how they begin
    #[arg(long, value_enum, default_value = "sane")]
    pub end: End,
}

/// The lines of a load.
mod word {
    pub(super) const READY: &str = "ready";
    pub(super) const START: &str = "start";
    pub(super) const STOP: &str = "stop";
    pub(super) const FINISH: &str = "finish";
    pub(super) const STOPPED: &str = "stopped";
    pub(super) const SETTLE: &str = "settle";
    pub(super) const SETTLED: &str = "settled";
}

/// A load that could not go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A guest failed.
    #[error(transparent)]
    Guest(#[from] GuestError),
    /// Its orders could not be read, or its answers not written.
    #[error("the load's input or output: {0}")]
    Channel(#[from] io::Error),
}

/// How a load stands back behind everybody else (setpriority(2)). The lab has one CPU for all: a host has others for its
/// daemons, and this leaves ldrscope about half of the one.
const NICE: i32 = 10;

/// Makes the guests of `load`, then obeys the lines of `orders` until they end.
pub fn run(load: &Load, orders: &mut dyn BufRead, answers: &mut dyn Write) -> Result<(), RunError> {
    // Where it is refused the load is a heavier one.
    let _ = rustix::process::nice(NICE);
    let held = if load.kind == Kind::Churn { 0 } else { load.vms };
    let mut guests = (0..held)
        .map(|_| {
            let guest = Guest::with_vcpus(load.vcpus)?;
            load.end.bring_about(&guest)?;
            Ok(guest)
        })
        .collect::<Result<Vec<_>, GuestError>>()?;
    let mut tell = |line: &str| {
        writeln!(answers, "{line}")?;
        answers.flush()
    };
    tell(word::READY)?;
    let mut line = String::new();
    while next_line(orders, &mut line)? {
        if line.trim_end() == word::SETTLE {
            guests.iter().try_for_each(|guest| load.end.bring_about(guest))?;
            tell(word::SETTLED)?;
            continue;
        }
        let stop = AtomicBool::new(false);
        let done = thread::scope(|scope| {
            let worker = scope.spawn(|| load.go(&mut guests, &stop));
            // An end of the orders stops it, too.
            while next_line(orders, &mut line)? && ![word::STOP, word::FINISH].contains(&line.trim_end()) {}
            stop.store(line.trim_end() != word::FINISH, Ordering::Relaxed);
            Ok::<_, RunError>(worker.join().unwrap_or(Err(GuestError::ThreadDied))?)
        })?;
        tell(&format!("{} {done}", word::STOPPED))?;
    }
    Ok(())
}

fn next_line(orders: &mut dyn BufRead, line: &mut String) -> io::Result<bool> {
    line.clear();
    Ok(orders.read_line(line)? > 0)
}

impl Load {
    /// Loads until `stop` is set; returns how many register writes, restores or VMs that made.
    fn go(&self, guests: &mut [Guest], stop: &AtomicBool) -> Result<u64, GuestError> {
        match self.kind {
            Kind::Idle => Ok(0),
            Kind::Storm => storm::rage(guests, stop),
            Kind::Flapping => flapping::flap(guests, stop),
            Kind::Restore => restore::restore(guests, stop),
            Kind::Churn => churn::churn(self.vms, self.vcpus, stop),
        }
    }
}

impl End {
    /// DFR and logical ID of vCPU `id`, one of `vcpus`.
    fn logical_id(self, id: u32, vcpus: usize) -> (u32, u8) {
        match self {
            Self::Sane if vcpus > 8 => (DFR_CLUSTER, cluster_id(id)),
            Self::Sane => (DFR_FLAT, 1 << (id % 8)),
            Self::Colliding => (DFR_FLAT, 1),
        }
    }

    /// Brings every vCPU of `guest` into this state, by the VMM.
    fn bring_about(self, guest: &Guest) -> Result<(), GuestError> {
        let ids = guest.vcpu_ids();
        let vcpus = ids.len();
        for id in ids {
            let (dfr, logical_id) = self.logical_id(id, vcpus);
            let bsp = if id == 0 { APIC_BASE_BSP } else { 0 };
            guest.set_apic_base(id, u64::from(layout::LAPIC) | APIC_BASE_ENABLED | bsp)?;
            guest.edit_lapic(
                id,
                &[
                    (ApicReg::Id, id << 24),
                    (ApicReg::Dfr, dfr),
                    (ApicReg::Ldr, ldr(logical_id)),
                    (ApicReg::Svr, SVR_ENABLED),
                ],
            )?;
        }
        Ok(())
    }
}
