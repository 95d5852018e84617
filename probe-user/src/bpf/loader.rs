//! Aya's loader, spared what it does unasked.
//!
//! Nothing of ldrscope's is relocated by the kernel's types: the layout is handed in. But `EbpfLoader::new`, the one way to
//! a loader, reads and parses all of them before it can be told so: a hundred million instructions and 25 MiB at every start.
//! So it is made while this process may open no file, and goes without as it does on a kernel that has no types.

use aya::EbpfLoader;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A loader that relocates nothing by the kernel's types. To be called while no other thread opens files.
pub(super) fn without_types<'a>() -> EbpfLoader<'a> {
    let _no_files = NoFiles::begin();
    let mut loader = EbpfLoader::new();
    loader.btf(None);
    loader
}

/// Until it is dropped this process gets no more descriptors; those that it has stay good.
struct NoFiles(Option<Rlimit>);

impl NoFiles {
    /// Where the limit cannot be set, files are opened as before: that takes longer and nothing else.
    fn begin() -> Self {
        let before = getrlimit(Resource::Nofile);
        let none = Rlimit {
            current: Some(0),
            ..before
        };
        Self(setrlimit(Resource::Nofile, none).is_ok().then_some(before))
    }
}

impl Drop for NoFiles {
    fn drop(&mut self) {
        if let Some(before) = self.0
            && let Err(error) = setrlimit(Resource::Nofile, before)
        {
            // Not seen to happen: what was allowed a moment ago is below the hard limit still.
            log::error!("the limit of open files stays at none: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a process of its own: the limit is the whole process's, and other tests open files.
    #[test]
    fn no_file_is_opened_meanwhile_and_any_afterwards() {
        // SAFETY: the child calls nothing but system calls, and ends without running anybody else's destructors.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let opens = || std::fs::File::open("/dev/null").is_ok();
            let guard = NoFiles::begin();
            let refused = !opens();
            drop(guard);
            // SAFETY: ends this process at once.
            unsafe { libc::_exit(i32::from(!(refused && opens()))) };
        }
        let mut status = 0;
        // SAFETY: `status` is a place of this frame.
        let ended = unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!((ended, status), (child, 0));
    }
}
