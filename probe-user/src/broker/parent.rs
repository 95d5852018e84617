//! The broker's side. It waits for a request, opens or lets go, and waits again; the child's end and the signals meant for
//! the child are taken care of by handlers, so that neither waits for an opening that takes its time.

use std::{
    mem::MaybeUninit,
    os::fd::{AsFd as _, OwnedFd},
    ptr,
    sync::atomic::{AtomicI32, Ordering},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::RecvFlags,
};

use super::{
    farewell,
    transport::{receive, send},
    wire::{Answer, Opened, Refusal, Request},
};
use crate::{
    bpf::attachment::Attachment,
    kernel::obstacle::Obstacle,
    observer::{
        ObserverOptions,
        opening::{self, Purpose},
    },
};

/// Between two looks at what the kernel side logged, where it logs.
const LOG_POLL: Duration = Duration::from_millis(100);

/// The child, for the handlers.
static CHILD: AtomicI32 = AtomicI32::new(0);

/// What is passed on to the child, which knows what to do with it.
const PASSED_ON: [i32; 5] = [
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGHUP,
    libc::SIGUSR1,
    libc::SIGQUIT,
];

/// Serves the child for as long as it lives, and ends as it ended.
pub(super) fn serve(socket: &OwnedFd, child: libc::pid_t, options: &ObserverOptions) -> ! {
    CHILD.store(child, Ordering::SeqCst);
    handle(libc::SIGCHLD, end_with_child);
    for signal in PASSED_ON {
        handle(signal, pass_on);
    }
    // It may have ended before its end could be noticed.
    end_with_child(libc::SIGCHLD);
    answer_all(socket, options);
    // The child no longer listens: it is about to end.
    loop {
        // SAFETY: takes nothing; returns after a signal was handled.
        unsafe { libc::pause() };
    }
}

/// Returns when the child has closed its end.
fn answer_all(socket: &OwnedFd, options: &ObserverOptions) {
    let mut attachment: Option<Attachment> = None;
    let mut purpose = Purpose::Watch;
    loop {
        if let Some(attachment) = attachment.as_mut().filter(|attachment| attachment.logs()) {
            while !readable_within(socket, LOG_POLL) {
                attachment.flush_log();
            }
        }
        match receive::<Request>(socket, RecvFlags::empty()) {
            Ok(Some((Request::Open, _))) => {
                // Of the old one nothing may be left when the new one counts its programs.
                drop(attachment.take());
                attachment = open(socket, options, purpose);
                if let (Some(attachment), Purpose::Watch) = (&attachment, purpose) {
                    let fast = attachment.is_fast();
                    purpose = Purpose::WatchAgain { fast };
                }
            }
            Ok(Some((Request::Close, _))) => drop(attachment.take()),
            Ok(Some((Request::Quicken, _))) => exchange(socket, attachment.as_mut(), true),
            Ok(Some((Request::Slacken, _))) => exchange(socket, attachment.as_mut(), false),
            Ok(None) => return,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                log::error!("the unprivileged process cannot be understood: {error}");
                return;
            }
        }
    }
}

fn open(socket: &OwnedFd, options: &ObserverOptions, purpose: Purpose) -> Option<Attachment> {
    let opened = opening::open(options, purpose).and_then(|opened| {
        let handles = opened.attachment.handles()?;
        // Mapped here for the canary's sake alone: from now on the ring has one reader, the child.
        drop(opened.access);
        let fast = opened.attachment.is_fast();
        let answer = Answer::Opened(Opened::of(&opened.facts, &opened.encoding, &handles, fast));
        send(socket, &answer, &handles.in_order())
            .map_err(|source| Obstacle::internal("handing the kernel side over", source))?;
        if fast {
            hand_over_fast(socket, &opened.attachment);
        }
        Ok(opened.attachment)
    });
    match opened {
        Ok(attachment) => Some(attachment),
        Err(obstacle) => {
            // A child that is gone needs no answer; its end is being handled.
            let _ = send(socket, &Answer::Refused(Refusal::of(&obstacle)), &[]);
            None
        }
    }
}

/// Puts the fast programs in or takes them out.
fn exchange(socket: &OwnedFd, attachment: Option<&mut Attachment>, fast: bool) {
    let Some(attachment) = attachment else { return };
    if fast {
        if let Err(error) = attachment.quicken() {
            log::debug!("fentry programs cannot be attached: {error}");
        }
    } else if let Err(obstacle) = attachment.slacken() {
        log::error!("{obstacle}");
    }
    hand_over_fast(socket, attachment);
}

/// Hands over the programs that stand in now.
fn hand_over_fast(socket: &OwnedFd, attachment: &Attachment) {
    let programs = attachment.fast_programs().unwrap_or_else(|obstacle| {
        log::warn!("{obstacle}");
        Vec::new()
    });
    let names = programs.iter().map(|(name, _)| (*name).to_owned()).collect();
    let descriptors: Vec<_> = programs.iter().map(|(_, program)| program.as_fd()).collect();
    // A child that is gone needs no answer; its end is being handled.
    let _ = send(socket, &Answer::Exchanged { programs: names }, &descriptors);
}

fn readable_within(socket: &OwnedFd, time: Duration) -> bool {
    let time = Timespec {
        tv_sec: 0,
        tv_nsec: time.subsec_nanos().into(),
    };
    let mut sockets = [PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)];
    !matches!(poll(&mut sockets, Some(&time)), Ok(0) | Err(Errno::INTR))
}

fn handle(signal: i32, handler: extern "C" fn(i32)) {
    // SAFETY: a structure of plain integers and pointers, for which zero is a value: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the handlers below call nothing but what signal-safety(7) allows, and keep errno.
    let failed = unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
    if failed != 0 {
        log::error!("signal {signal} cannot be passed on to the unprivileged process");
    }
}

/// A terminal sends its signals to both processes; the child takes a second one as it took the first.
extern "C" fn pass_on(signal: i32) {
    let kept = Errno::from_io_error(&std::io::Error::last_os_error());
    // SAFETY: async-signal-safe; the child is not reaped but by `end_with_child`, which does not return then.
    unsafe { libc::kill(CHILD.load(Ordering::SeqCst), signal) };
    restore(kept);
}

extern "C" fn end_with_child(_: i32) {
    let kept = Errno::from_io_error(&std::io::Error::last_os_error());
    let mut status = 0;
    // SAFETY: async-signal-safe; `status` is a place of this frame.
    let ended = unsafe { libc::waitpid(CHILD.load(Ordering::SeqCst), &raw mut status, libc::WNOHANG) };
    if ended > 0 {
        let code = if libc::WIFEXITED(status) {
            libc::WEXITSTATUS(status)
        } else {
            match libc::WTERMSIG(status) {
                // Passed on before the child had taken it over: done, as it would have been.
                libc::SIGTERM | libc::SIGINT => 0,
                // As a shell puts it.
                other => {
                    farewell::of_killed(other);
                    128 + other
                }
            }
        };
        // SAFETY: async-signal-safe. Everything attached is detached by the kernel.
        unsafe { libc::_exit(code) };
    }
    restore(kept);
}

fn restore(kept: Option<Errno>) {
    if let Some(errno) = kept {
        // SAFETY: the address of this thread's errno.
        let place = unsafe { libc::__errno_location() };
        // SAFETY: as above, valid for as long as the thread.
        unsafe { *place = errno.raw_os_error() };
    }
}
