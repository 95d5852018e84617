//! Giving up privileges in a process made for it, which then ends: so `doctor` can say how the daemon's child will be
//! confined on this very host, instead of deriving it from versions.

use std::{
    fs::File,
    io::{Read as _, Write as _},
};

use rustix::{
    pipe::{PipeFlags, pipe_with},
    process::{Pid, WaitOptions, waitpid},
};

use super::{FileAccess, Keep, Sandbox, confine, drop_all, landlock};
use crate::kernel::status::ProcessStatus;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rehearsal {
    /// How a child is confined here in one line, or why it cannot be.
    pub outcome: Result<String, Failure>,
    /// The kernel's landlock.
    pub landlock: FileAccess,
}

/// Why a child cannot be confined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The cause word.
    pub word: &'static str,
    /// The sentence.
    pub sentence: String,
    /// The remedy.
    pub remedy: String,
}

/// Separates the parts of a failure on their way; no message has it.
const SEPARATOR: char = '\0';

/// The words that a failure can have: see [`PrivilegeError::word`](super::PrivilegeError::word).
const WORDS: [&str; 4] = ["privileges", "missing-capability", "sandbox", "no-such-user"];

/// Tries it. `None` in a process of several threads, which must not be forked, and where there is no room for a process.
///
/// The child holds the same privileges as this process until it drops them, opens nothing and runs no program.
#[must_use]
pub fn rehearse() -> Option<Rehearsal> {
    if ProcessStatus::read().ok()?.threads != 1 {
        return None;
    }
    let (reading, writing) = pipe_with(PipeFlags::CLOEXEC).ok()?;
    // SAFETY: there is no other thread that could hold a lock at this moment.
    match unsafe { libc::fork() } {
        -1 => None,
        0 => {
            drop(reading);
            let told = File::from(writing).write_all(perform().as_bytes());
            // SAFETY: ends the process. Nothing of the parent's is flushed or run a second time.
            unsafe { libc::_exit(i32::from(told.is_err())) }
        }
        child => {
            drop(writing);
            let mut told = String::new();
            let read = File::from(reading).read_to_string(&mut told);
            let child = Pid::from_raw(child)?;
            let ended = waitpid(Some(child), WaitOptions::empty()).ok().flatten();
            let clean = read.is_ok() && ended.is_some_and(|(_, status)| status.exit_status() == Some(0));
            Some(Rehearsal {
                outcome: if clean { understand(&told) } else { Err(silent()) },
                landlock: landlock::available(),
            })
        }
    }
}

fn perform() -> String {
    let confined = drop_all(Keep::BpfIfNeeded, None).and_then(|_| confine(&Sandbox::default()));
    match confined {
        Ok(confined) => what_it_means(&confined.to_string()),
        Err(error) => {
            let (word, remedy) = (error.word(), error.remedy());
            format!(
                "{:#}{SEPARATOR}{word}{SEPARATOR}{remedy}",
                anyhow::Error::from(error)
            )
        }
    }
}

/// A call beside the list and one of it: the filters are in force and let through what they should.
fn what_it_means(confined: &str) -> String {
    let refused = rustix::process::getpgid(None) == Err(rustix::io::Errno::NOSYS);
    let reads = std::fs::metadata("/proc/self").is_ok();
    match (refused, reads) {
        (true, true) => confined.to_owned(),
        (false, _) => format!("{confined} (but a system call beside the list went through)"),
        (true, false) => format!("{confined} (but /proc cannot be read any more)"),
    }
}

fn understand(told: &str) -> Result<String, Failure> {
    let parts: Vec<_> = told.split(SEPARATOR).collect();
    match parts[..] {
        [confined] if !confined.is_empty() => Ok(confined.to_owned()),
        [sentence, word, remedy] => Err(Failure {
            word: WORDS.into_iter().find(|known| *known == word).unwrap_or(WORDS[0]),
            sentence: sentence.to_owned(),
            remedy: remedy.to_owned(),
        }),
        _ => Err(silent()),
    }
}

fn silent() -> Failure {
    Failure {
        word: "sandbox",
        sentence: "the process that tried how the daemon is confined did not live to tell".to_owned(),
        remedy: "do without with `--no-sandbox`, and please report this message".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_tells_how_it_is_confined_or_why_not() {
        assert_eq!(understand("seccomp"), Ok("seccomp".to_owned()));
        let failure = understand("cannot\0missing-capability\0do that").unwrap_err();
        assert_eq!(failure.word, "missing-capability");
        assert_eq!(
            (failure.sentence.as_str(), failure.remedy.as_str()),
            ("cannot", "do that")
        );
        assert_eq!(understand(""), Err(silent()));
    }

    #[test]
    fn a_process_of_several_threads_is_not_forked() {
        std::thread::scope(|scope| {
            let other = scope.spawn(std::thread::park);
            assert_eq!(rehearse(), None);
            other.thread().unpark();
        });
    }
}
