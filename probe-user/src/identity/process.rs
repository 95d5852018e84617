//! A process as `/proc` shows it.
//!
//! [`ProcessSource`] is the edge: the engine is tested with a table in its place. A process may end between
//! any two reads; then there is no process.

mod procfs;
mod stat;

pub use self::procfs::ProcFs;

/// What is read about a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Its id in the initial pid namespace; 0 where that is the id that was asked for. Another one where that was the
    /// id of one of its threads.
    pub pid: u32,
    /// Its id in its own pid namespace; 0 where that is not known.
    pub own_pid: u32,
    /// `/proc/PID/cmdline`: NUL-separated arguments, as the process left them.
    pub cmdline: Vec<u8>,
    /// `/proc/PID/comm`, made valid UTF-8.
    pub comm: String,
    /// `/proc/PID/cgroup`.
    pub cgroup: Vec<u8>,
    /// Start time in clock ticks after boot (`/proc/PID/stat`, field 22).
    pub start_time: u64,
    /// The same of the thread that was asked for, 0 where it was the process itself.
    pub thread_start_time: u64,
}

/// Where processes are looked up.
pub trait ProcessSource {
    /// The process of the task `id` of the initial pid namespace, `None` if there is none (any more). Everything in
    /// the answer is of one process.
    fn read(&self, id: u32) -> Option<Process>;

    /// libvirt's run-time file `file` of its driver `driver`; `None` where there is none, or it may not be read.
    fn libvirt_status(&self, driver: &str, file: &str) -> Option<Vec<u8>> {
        let _ = (driver, file);
        None
    }
}
