//! Ends of child processes: waiting with a limit, and making sure that one is gone. No child of the lab
//! outlives the one that started it.

use std::io;
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks at a child that has not ended yet.
const POLL: Duration = Duration::from_millis(10);

/// Waits for `child` to end, for at most `limit`; `None` if it still runs then.
pub fn wait_at_most(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(POLL);
    }
}

/// Kills `child` unless it has ended, and reaps it.
pub fn kill(child: &mut Child) {
    // Errors mean that it has been reaped already, which is what was wanted.
    let _ = child.kill();
    let _ = child.wait();
}
