//! What watches while a path is timed, and how it is held still meanwhile.

use std::any::Any;
use std::io;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::bpftrace::Bpftrace;
use super::kprobe::EmptyKprobes;
use crate::cases::CaseError;
use crate::outside::process::signal;
use crate::tool::{Hooks, Watch};

/// The functions that every trapped APIC write runs through.
const OBVIOUS: [&str; 2] = ["kvm_recalculate_apic_map", "kvm_lapic_reg_write"];

/// Long enough for ldrscope to take in what a block brought.
const CATCH_UP: Duration = Duration::from_millis(60);

/// A generous limit of its start, by the lab's clock.
const START_UP: Duration = Duration::from_secs(30);

/// An observer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Observer {
    /// ldrscope with cold hooks.
    Cold,
    /// ldrscope with precise hooks on top.
    Precise,
    /// ldrscope with cold hooks, counting interrupts.
    Interrupts,
    /// The obvious design, stripped of all it would do: an empty program by kprobe on each of the two functions that
    /// every APIC write runs through.
    Obvious,
    /// A bpftrace script on the same two functions that tells what it can.
    Bpftrace,
}

impl Observer {
    /// All that can be had here but [`Self::Interrupts`], which has paths of its own.
    pub fn usual() -> Vec<Self> {
        let mut usual = vec![Self::Obvious, Self::Cold, Self::Precise];
        usual.extend(Bpftrace::is_installed().then_some(Self::Bpftrace));
        usual
    }

    /// Its word, on command lines and in figures.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Precise => "precise",
            Self::Interrupts => "interrupts",
            Self::Obvious => "obvious",
            Self::Bpftrace => "bpftrace",
        }
    }

    /// Brings it in, stopped.
    pub(super) fn begin(self) -> Result<Present, CaseError> {
        let mut present = match self {
            Self::Cold => watch(Hooks::Cold, &[])?,
            Self::Precise => watch(Hooks::Precise, &[])?,
            Self::Interrupts => watch(Hooks::Cold, &["--interrupts"])?,
            Self::Obvious => Present {
                processes: Vec::new(),
                held: Box::new(EmptyKprobes::attach(&OBVIOUS)?),
            },
            Self::Bpftrace => {
                let script = Bpftrace::attach()?;
                Present {
                    processes: vec![script.pid()],
                    held: Box::new(script),
                }
            }
        };
        present.catch_up()?;
        Ok(present)
    }
}

fn watch(hooks: Hooks, more: &[&str]) -> Result<Present, CaseError> {
    let mut watch = Watch::start(hooks, more)?;
    watch.wait_until_it_watches(START_UP)?;
    Ok(Present {
        processes: watch.processes()?.to_vec(),
        held: Box::new(watch),
    })
}

/// An observer that is there.
pub(super) struct Present {
    /// Those that have work of their own to do.
    processes: Vec<u32>,
    /// What dropping it takes away.
    held: Box<dyn Any>,
}

impl Present {
    /// Lets it take in what happened, and stops it again.
    pub(super) fn catch_up(&mut self) -> Result<(), CaseError> {
        if !self.processes.is_empty() {
            signal_all(&self.processes, Signal::CONT)?;
            thread::sleep(CATCH_UP);
            signal_all(&self.processes, Signal::STOP)?;
        }
        Ok(())
    }

    /// Takes it away.
    pub(super) fn end(self) -> Result<(), CaseError> {
        signal_all(&self.processes, Signal::CONT)?;
        drop(self.held);
        // Trampolines are torn down late.
        thread::sleep(CATCH_UP);
        Ok(())
    }
}

fn signal_all(pids: &[u32], word: Signal) -> io::Result<()> {
    pids.iter().try_for_each(|pid| signal(*pid, word))
}

impl std::fmt::Display for Observer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}
