//! All vCPUs of a guest at once, each on a thread of its own, until they are told to stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::{Guest, Vcpu};
use crate::guest::{GuestError, Op};

impl Guest {
    /// Every vCPU runs the program that `program_of` names for its id, `rounds` times over between two looks at
    /// `stop`, and goes on until it is set. Returns how often all programs ran together; each one ran to its end.
    pub fn run_at_once(
        &mut self,
        program_of: impl Fn(u32) -> Vec<Op>,
        rounds: u32,
        stop: &AtomicBool,
    ) -> Result<u64, GuestError> {
        let (vcpus, memory) = self.vcpus_and_memory()?;
        for vcpu in &mut *vcpus {
            vcpu.load(memory, &program_of(vcpu.id), rounds)?;
        }
        let run = |vcpu: &mut Vcpu| {
            let mut runs = 0;
            while !stop.load(Ordering::Relaxed) {
                vcpu.run_loaded()?;
                runs += u64::from(rounds);
            }
            Ok(runs)
        };
        thread::scope(|scope| {
            let threads: Vec<_> = vcpus.iter_mut().map(|vcpu| scope.spawn(|| run(vcpu))).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or(Err(GuestError::ThreadDied)))
                .sum()
        })
    }
}
