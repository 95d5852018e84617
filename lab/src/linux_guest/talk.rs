//! What the case and the Linux guest's init say to each other over the guest's second serial port: one JSON object a line.
//! The guest speaks first, once in every kernel that it boots; then each request has one reply, unless it ends the kernel.

use serde::{Deserialize, Serialize};

/// The serial port, as the guest names it.
pub const PORT: &str = "/dev/ttyS1";

/// What the guest is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Say how things stand.
    Tell,
    /// Take a CPU off.
    Offline(u32),
    /// Take a CPU back.
    Online(u32),
    /// Load the kernel that [`Request::Kexec`] jumps to.
    LoadNext,
    /// Load the kernel that a crash jumps to.
    LoadCrash,
    /// Jump to the loaded kernel. No reply.
    Kexec,
    /// Restart by the platform's reset. No reply.
    Reboot,
    /// Panic on this CPU. No reply.
    Crash(u32),
}

/// What the guest says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// How things stand: the first words of every kernel, and the answer to all that was done.
    State(State),
    /// It could not be done.
    Failed(String),
}

/// How a kernel of the guest stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// This boot, whatever kernel it is of: random, new in every one.
    pub boot: String,
    /// Its release.
    pub release: String,
    /// Whether it runs because another one crashed.
    pub after_crash: bool,
    /// The CPUs that are online, each with its APIC ID and its count of local timer interrupts, ascending.
    pub cpus: Vec<Cpu>,
}

/// A CPU of the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cpu {
    /// Linux's number.
    pub number: u32,
    /// Its APIC ID.
    pub apic_id: u32,
    /// Interrupts of its local APIC's timer in this boot.
    pub timer_interrupts: u64,
}

#[cfg(test)]
mod tests {
    use super::{Cpu, Reply, Request, State};

    #[test]
    fn both_sides_words_survive_their_lines() {
        let state = Reply::State(State {
            boot: "0a".into(),
            release: "5.10.0".into(),
            after_crash: true,
            cpus: vec![Cpu {
                number: 0,
                apic_id: 2,
                timer_interrupts: 300,
            }],
        });
        for reply in [state, Reply::Failed("no such CPU".into())] {
            let line = serde_json::to_string(&reply).unwrap();
            assert!(!line.contains('\n'));
            assert_eq!(serde_json::from_str::<Reply>(&line).unwrap(), reply);
        }
        let request = serde_json::to_string(&Request::Crash(2)).unwrap();
        assert_eq!(
            serde_json::from_str::<Request>(&request).unwrap(),
            Request::Crash(2)
        );
    }
}
