//! The log on stderr: one line a record, no colour, no time (journald and terminals add their own).
//!
//! Results never go here and logs never go to stdout. Text is escaped like everything else that may hold a
//! VM's name. A daemon's log never waits for whoever reads it: lines for which there is no room are left out, and counted.

use std::{
    env,
    io::{self, Write},
    os::fd::AsFd,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use log::{Level, LevelFilter, Log, Metadata, Record};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::fstat,
    io::Errno,
};

use crate::escape::escape_line;

/// A pipe or socket with room takes this much without blocking (PIPE_BUF).
const LONGEST_LINE: usize = 4096;

/// Whether a reader that sleeps is waited for.
static PATIENT: AtomicBool = AtomicBool::new(true);

/// Whether it is journald that reads stderr, and takes a line's priority from its beginning (sd-daemon(3)).
static TO_JOURNAL: AtomicBool = AtomicBool::new(false);

/// Lines left out since one was written.
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

/// Writes records to stderr.
struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = record.level().as_str().to_ascii_lowercase();
        let mut stderr = io::stderr().lock();
        for line in record.args().to_string().lines() {
            let line = format!(
                "{}ldrscope: {level}: {}\n",
                prefix(record.level()),
                escape_line(line)
            );
            // Nobody is left to tell when stderr itself is gone.
            let _ = if PATIENT.load(Ordering::Relaxed) {
                stderr.write_all(line.as_bytes())
            } else {
                write_or_leave_out(&mut stderr, line, &LEFT_OUT)
            };
        }
    }

    fn flush(&self) {}
}

/// Starts logging at the level that `-v` and `-q` ask for. A second call changes the level only.
pub fn start(level: LevelFilter) {
    static LOGGER: Stderr = Stderr;
    // The only error is "already set", and then it is this logger that was set.
    let _ = log::set_logger(&LOGGER);
    log::set_max_level(level);
    TO_JOURNAL.store(is_journal(&io::stderr()), Ordering::Relaxed);
}

/// What a line of this level begins with on stderr.
#[must_use]
pub fn prefix(level: Level) -> &'static str {
    match level {
        _ if !TO_JOURNAL.load(Ordering::Relaxed) => "",
        Level::Error => "<3>",
        Level::Warn => "<4>",
        Level::Info => "<6>",
        Level::Debug | Level::Trace => "<7>",
    }
}

/// Whether `JOURNAL_STREAM` names this very file (systemd.exec(5)): a child whose stderr leads elsewhere inherits it, too.
fn is_journal(stream: &impl AsFd) -> bool {
    let Ok(named) = env::var("JOURNAL_STREAM") else {
        return false;
    };
    fstat(stream).is_ok_and(|file| named == format!("{}:{}", file.st_dev, file.st_ino))
}

/// From now on leaves out lines for which there is no room, as a loop that must go on needs it.
pub fn never_wait() {
    PATIENT.store(false, Ordering::Relaxed);
}

/// Writes a line if there is room for it, and before it how many there was none for.
fn write_or_leave_out(
    out: &mut (impl Write + AsFd),
    mut line: String,
    left_out: &AtomicU64,
) -> io::Result<()> {
    if !has_room(out) {
        left_out.fetch_add(1, Ordering::Relaxed);
        return Ok(());
    }
    let count = left_out.swap(0, Ordering::Relaxed);
    if count > 0 {
        writeln!(out, "ldrscope: warn: lines of this log left out: {count}")?;
        if !has_room(out) {
            left_out.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
    }
    if line.len() > LONGEST_LINE {
        line.truncate(line.floor_char_boundary(LONGEST_LINE - 1));
        line.push('\n');
    }
    out.write_all(line.as_bytes())
}

/// What is closed or not to be asked takes a line at once, or an error.
fn has_room(out: &impl AsFd) -> bool {
    let mut asked = [PollFd::new(out, PollFlags::OUT)];
    match poll(&mut asked, Some(&Timespec::default())) {
        Ok(0) | Err(Errno::INTR) => false,
        Ok(_) | Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader, Read},
        os::unix::net::UnixStream,
    };

    use super::*;

    fn write(out: &mut (impl Write + AsFd), number: u64, left_out: &AtomicU64) {
        let padding = "x".repeat(if number == 3 { 10_000 } else { 100 });
        write_or_leave_out(out, format!("{number} {padding}\n"), left_out).unwrap();
    }

    /// `out` blocks: a write without room would never return.
    fn leaves_out_and_says_so(from: impl Read, mut out: impl Write + AsFd) {
        let left_out = AtomicU64::new(0);
        (0..20_000).for_each(|number| write(&mut out, number, &left_out));
        let missed = left_out.load(Ordering::Relaxed);
        assert!((1..20_000).contains(&missed), "{missed}");
        let mut lines = BufReader::new(from).lines().map(Result::unwrap);
        for number in 0..20_000 - missed {
            let line = lines.next().unwrap();
            assert!(line.starts_with(&format!("{number} x")) && line.len() < LONGEST_LINE);
        }
        write(&mut out, 20_000, &left_out);
        let said = format!("ldrscope: warn: lines of this log left out: {missed}");
        assert_eq!(lines.next(), Some(said));
        assert!(lines.next().unwrap().starts_with("20000 x"));
        assert_eq!(left_out.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_reader_of_a_pipe_that_sleeps_is_not_waited_for_and_hears_what_it_missed() {
        let (from, out) = io::pipe().unwrap();
        leaves_out_and_says_so(from, out);
    }

    #[test]
    fn nor_is_one_of_a_socket_as_systemd_gives_to_a_service() {
        let (from, out) = UnixStream::pair().unwrap();
        leaves_out_and_says_so(from, out);
    }
}
