//! Guests to look at: each kind boots, tells its story line by line, and then stays until its input ends.
//! People run them beside ldrscope by hand; cases run them as processes of their own through [`GuestProcess`].

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use clap::ValueEnum;

use crate::guest::lapic::{DFR_FLAT, SVR_ENABLED};
use crate::guest::{Guest, GuestError};
use crate::reap;
use crate::scenario::{self, DeadCpus, Kdump};

/// The line that says that a guest has done all it will do.
const READY: &str = "ready";

/// What kind of guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// The 2019 kdump failure, the other CPUs' APICs left enabled.
    BigsmpEnabled,
    /// The 2019 kdump failure, the other CPUs' APICs disabled first.
    BigsmpDisabled,
    /// Healthy: logical flat, at most 8 vCPUs.
    Flat,
    /// Healthy: logical cluster.
    Cluster,
    /// Healthy: x2APIC.
    X2apic,
    /// Logical flat, every vCPU claims slot 0.
    Collision,
    /// Every vCPU's DFR is neither flat nor cluster.
    OddDfr,
}

/// A guest that could not be shown.
#[derive(Debug, thiserror::Error)]
pub enum ExhibitError {
    /// The guest failed.
    #[error(transparent)]
    Guest(#[from] GuestError),
    /// Its story could not be told.
    #[error("cannot write the guest's story: {0}")]
    Output(#[from] io::Error),
}

/// Boots a guest of `kind`, tells its story to `out` with `pause` between the steps, and holds it until stdin ends.
pub fn show(kind: Kind, vcpus: u32, pause: Duration, out: &mut dyn Write) -> Result<(), ExhibitError> {
    let mut tell = |line: &str| -> io::Result<()> {
        writeln!(out, "{line}")?;
        out.flush()
    };
    let _guest: Box<dyn std::any::Any> = match kind {
        Kind::BigsmpEnabled => Box::new(kdump_story(DeadCpus::LeftEnabled, pause, &mut tell)?),
        Kind::BigsmpDisabled => Box::new(kdump_story(DeadCpus::Disabled, pause, &mut tell)?),
        Kind::Flat => Box::new(scenario::flat(vcpus)?),
        Kind::Cluster => Box::new(scenario::clustered(vcpus)?),
        Kind::X2apic => Box::new(scenario::x2apic(vcpus)?),
        Kind::Collision => Box::new(scenario::flat_with(&vec![0x01; vcpus as usize])?),
        Kind::OddDfr => Box::new(odd_dfr(vcpus)?),
    };
    tell(READY)?;
    io::stdin().lock().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Tells the 2019 story and returns its guest at the end of it.
pub fn kdump_story(
    others: DeadCpus,
    pause: Duration,
    tell: &mut dyn FnMut(&str) -> io::Result<()>,
) -> Result<Kdump, ExhibitError> {
    tell("16 vCPUs boot as bigsmp did: LDR = APIC ID << 24, physical mode")?;
    let mut kdump = Kdump::boot_bigsmp()?;
    thread::sleep(pause);
    tell(match others {
        DeadCpus::LeftEnabled => "CPU 0 crashes into a kdump kernel; the other APICs stay enabled",
        DeadCpus::Disabled => "CPU 0 crashes into a kdump kernel; the other APICs were disabled first",
    })?;
    kdump.crash(others)?;
    tell("the kdump kernel set LDR 0x01000000 on CPU 0 alone")?;
    thread::sleep(pause);
    tell("it arms the PIT: IOAPIC pin 2, vector 0x30, logical destination 0x01")?;
    kdump.arm_timer()?;
    tell("it waits for its timer interrupt ...")?;
    let ticks = kdump.await_timer()?;
    if ticks == 0 {
        let pending: Vec<_> = kdump.timer_pending_at()?.iter().map(u32::to_string).collect();
        let at = pending.join(", ");
        tell(&format!(
            "no interrupt came: the guest hangs here; vector 0x30 is pending at vCPU {at}"
        ))?;
    } else {
        tell(&format!("{ticks} interrupts came: the kdump kernel boots on"))?;
    }
    thread::sleep(pause);
    Ok(kdump)
}

fn odd_dfr(vcpus: u32) -> Result<Guest, GuestError> {
    const DFR_ODD: u32 = DFR_FLAT & 0x5FFF_FFFF;
    let mut guest = Guest::with_vcpus(vcpus)?;
    for id in 0..vcpus {
        guest.write_logical_id(id, DFR_ODD, 0x11 + id as u8, SVR_ENABLED)?;
    }
    Ok(guest)
}

/// What a guest's process looks like from outside.
#[derive(Debug, Clone, Default)]
pub struct Disguise {
    /// A link to this program whose name becomes the comm; this program itself by default.
    pub program: Option<PathBuf>,
    /// What it says it was started as.
    pub argv0: Option<OsString>,
    /// Arguments of a VMM, behind its own.
    pub arguments: Vec<OsString>,
}

/// A guest in a process of its own, killed when dropped.
#[derive(Debug)]
pub struct GuestProcess {
    child: Child,
}

impl GuestProcess {
    /// Starts this very program as `guest KIND --vcpus N` and returns once the guest has done all it will do.
    pub fn start(kind: Kind, vcpus: u32) -> io::Result<Self> {
        Self::disguised(kind, vcpus, &Disguise::default())
    }

    /// The same as a process that looks otherwise.
    pub fn disguised(kind: Kind, vcpus: u32, disguise: &Disguise) -> io::Result<Self> {
        let word = kind
            .to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default();
        let mut command = match &disguise.program {
            Some(program) => Command::new(program),
            None => Command::new(std::env::current_exe()?),
        };
        if let Some(argv0) = &disguise.argv0 {
            command.arg0(argv0);
        }
        let mut child = command
            .args(["guest", &word, "--vcpus", &vcpus.to_string(), "--"])
            .args(&disguise.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take();
        let process = Self { child };
        let lines = stdout
            .into_iter()
            .flat_map(|stdout| BufReader::new(stdout).lines());
        for line in lines.map_while(Result::ok) {
            if line == READY {
                return Ok(process);
            }
        }
        Err(io::Error::other(
            "the guest process ended before its guest was ready; its stderr says why",
        ))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it with SIGKILL and reaps it.
    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for GuestProcess {
    fn drop(&mut self) {
        reap::kill(&mut self.child);
    }
}
