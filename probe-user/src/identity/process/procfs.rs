//! The running host's `/proc` and libvirt's directory under `/run`: the files that identities are read from.
//!
//! A pid is used again as soon as its process is reaped, so no two paths with the same number in them need be of one
//! process. All files are read below one descriptor of `/proc/PID`, which stays that process's: once it is gone, they
//! cannot be read. What a process may change while it lives, its comm, arguments and group, can differ from one read
//! to the next; its start time cannot, not even by execve(2).
//!
//! A host may have a thousand VMs when ldrscope starts, and each of these files takes four system calls: none is read for
//! what another one tells.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, fstat, openat},
    io::Errno,
};

use super::{Process, ProcessSource, stat};
use crate::identity::libvirt;

/// The running host's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcFs;

/// The most that is read of a file in `/proc`: a VMM's command line has tens of KiB, the kernel allows megabytes.
const MAX_BYTES: usize = 256 * 1024;
/// Where libvirt's daemons keep the state of what runs. Old systems have a `/var/run` of its own.
const LIBVIRT: [&str; 2] = ["/run/libvirt", "/var/run/libvirt"];

impl ProcessSource for ProcFs {
    fn read(&self, id: u32) -> Option<Process> {
        let asked = Task::open(id)?;
        let (pid, own_pid) = asked.thread_group()?;
        let process = if pid == id {
            asked.process(pid)?
        } else {
            let leader = Task::open(pid)?;
            let process = leader.process(pid)?;
            // The thread still lives, so its process did all along, and the number was never free.
            Process {
                thread_start_time: asked.start_time()?,
                ..process
            }
        };
        Some(Process {
            own_pid: own_pid.unwrap_or(0),
            ..process
        })
    }

    fn libvirt_status(&self, driver: &str, file: &str) -> Option<Vec<u8>> {
        LIBVIRT.iter().find_map(|directory| {
            let path = format!("{directory}/{driver}/{file}");
            match regular_file(&path) {
                Ok(bytes) => Some(bytes),
                Err(error) => {
                    // Without privileges this is the rule: the files are root's.
                    log::debug!("cannot read {path:?}: {error}");
                    None
                }
            }
        })
    }
}

/// A process or thread, held by its directory in `/proc`.
struct Task(OwnedFd);

impl Task {
    fn open(id: u32) -> Option<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(CWD, format!("/proc/{id}"), flags, Mode::empty())
            .ok()
            .map(Self)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let file = openat(&self.0, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        bounded_read(file.into(), MAX_BYTES)
    }

    fn start_time(&self) -> Option<u64> {
        stat::start_time(&self.read("stat").ok()?)
    }

    fn thread_group(&self) -> Option<(u32, Option<u32>)> {
        stat::thread_group(&self.read("status").ok()?)
    }

    /// Reads all of the process. One that has a start time last of all was there all along.
    fn process(&self, pid: u32) -> Option<Process> {
        // A process that has just ended or is a kernel thread has an empty command line.
        let mut cmdline = self.read("cmdline").unwrap_or_default();
        if cmdline.len() == MAX_BYTES {
            // Part of a name would be another name.
            let whole = cmdline.iter().rposition(|byte| *byte == 0).unwrap_or(0);
            cmdline.truncate(whole);
        }
        let cgroup = self.read("cgroup").unwrap_or_default();
        let stat = self.read("stat").ok()?;
        Some(Process {
            pid,
            own_pid: 0,
            cmdline,
            comm: String::from_utf8_lossy(stat::comm(&stat)?).into_owned(),
            cgroup,
            start_time: stat::start_time(&stat)?,
            thread_start_time: 0,
        })
    }
}

/// Reads a file that nobody but its owner should have put there: no link, no pipe to wait at.
fn regular_file(path: &str) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = openat(CWD, path, flags, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(Errno::INVAL.into());
    }
    // One byte more than is taken for whole.
    bounded_read(file.into(), libvirt::MAX_FILE + 1)
}

fn bounded_read(file: File, most: usize) -> io::Result<Vec<u8>> {
    /// What most files of a process fit into: then one call reads the file, and one its end.
    const ORDINARY: usize = 4096;
    let mut bytes = Vec::with_capacity(ORDINARY);
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::{
        process::{Command, Stdio},
        sync::mpsc,
        thread,
    };

    use super::*;

    #[test]
    fn this_process_is_found_and_one_that_cannot_exist_is_not() {
        let me = ProcFs.read(std::process::id()).unwrap();
        assert_eq!(me.pid, std::process::id());
        assert!(me.start_time > 0);
        assert!(!me.cmdline.is_empty());
        let comm = std::fs::read_to_string("/proc/self/comm").unwrap();
        assert_eq!(format!("{}\n", me.comm), comm);
        assert_eq!(ProcFs.read(u32::MAX), None);
    }

    #[test]
    fn a_thread_id_finds_the_process_that_the_thread_is_of() {
        let (tell, told) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            tell.send(rustix::thread::gettid().as_raw_nonzero().get())
                .unwrap();
            let _ = ended.recv();
        });
        let id = u32::try_from(told.recv().unwrap()).unwrap();
        let process = ProcFs.read(id).unwrap();
        let me = ProcFs.read(std::process::id()).unwrap();
        assert_ne!(id, me.pid);
        assert_eq!((process.pid, process.start_time), (me.pid, me.start_time));
        assert_eq!(process.cmdline, me.cmdline);
        assert!(process.thread_start_time >= me.start_time);
        drop(end);
        thread.join().unwrap();
    }

    #[test]
    fn a_held_process_that_is_reaped_cannot_be_read() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let task = Task::open(child.id()).unwrap();
        assert!(task.process(child.id()).is_some());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(task.process(0), None);
    }

    #[test]
    fn only_a_regular_file_is_read_as_libvirts() {
        assert!(regular_file("/proc").is_err());
        assert!(regular_file("/dev/null").is_err());
        assert!(regular_file("/proc/self/exe/x").is_err());
        assert_eq!(ProcFs.libvirt_status("qemu", "no such domain.xml"), None);
    }
}
