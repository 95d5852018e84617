//! A bpftrace script in ldrscope's place, for whoever has it installed and would rather write ten lines.

use std::io::{self, BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use crate::reap;

/// What can be told without the layout of KVM's structures, which bpftrace does not have for a module: writes of ID, LDR, DFR
/// and SVR (their offsets: Intel SDM vol. 3, table 11-1) as they come, and recalculations by process. No map is read.
const SCRIPT: &str = r#"
BEGIN { printf("ready\n"); }
kprobe:kvm_lapic_reg_write /arg1 == 0x20 || arg1 == 0xd0 || arg1 == 0xe0 || arg1 == 0xf0/ {
    printf("%d wrote %x to %x\n", pid, arg2, arg1);
}
kprobe:kvm_recalculate_apic_map { @recalculations[pid] = count(); }
"#;

/// What it says once all of it is attached.
const READY: &str = "ready";

/// It compiles its script first, by an emulated CPU.
const START_UP: Duration = Duration::from_secs(120);

/// The script at work; killed when dropped.
#[derive(Debug)]
pub(super) struct Bpftrace {
    child: Child,
}

impl Bpftrace {
    /// Whether there is one to start.
    pub(super) fn is_installed() -> bool {
        let asked = Command::new("bpftrace")
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        asked.is_ok_and(|status| status.success())
    }

    /// Starts it and returns once its probes are attached.
    pub(super) fn attach() -> io::Result<Self> {
        let mut child = Command::new("bpftrace")
            .args(["-e", SCRIPT])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take();
        let present = Self { child };
        let (says, said) = channel();
        // Its output is read to the end, or it would wait for a reader.
        thread::spawn(move || {
            let lines = stdout.into_iter().flat_map(|pipe| BufReader::new(pipe).lines());
            for line in lines.map_while(Result::ok) {
                if line == READY {
                    // Nobody waits any more once it took too long.
                    let _ = says.send(());
                }
            }
        });
        said.recv_timeout(START_UP)
            .map_err(|_| io::Error::other("bpftrace attaches nothing here; its stderr says why"))?;
        Ok(present)
    }

    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Bpftrace {
    fn drop(&mut self) {
        reap::kill(&mut self.child);
    }
}
