//! A running `ldrscope record`, and the files that it leaves. Dropping it kills it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use super::{Hooks, PATIENCE, ToolError, command, start};
use crate::reap;

/// A recording that is being made.
#[derive(Debug)]
pub struct Recording {
    child: Child,
    path: PathBuf,
    lines: Receiver<String>,
    stderr: String,
}

impl Recording {
    /// Starts `ldrscope record` into a file of that name, with further arguments, and returns once it observes.
    pub fn start(hooks: Hooks, name: &str, args: &[&str]) -> Result<Self, ToolError> {
        let path = std::env::temp_dir().join(name);
        // Of a case before this one.
        let _ = fs::remove_file(&path);
        let mut record = command(&["record", "--hooks", hooks.word()]);
        record.arg("-o").arg(&path).args(args);
        let mut child = start(&mut record)?;
        let (sender, lines) = channel();
        if let Some(stderr) = child.stderr.take() {
            thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        let mut recording = Self {
            child,
            path,
            lines,
            stderr: String::new(),
        };
        while !recording.stderr.contains("recording into") {
            match recording.lines.recv_timeout(2 * PATIENCE) {
                Ok(line) => recording.note(&line),
                Err(_) => {
                    return Err(ToolError::NotSeen {
                        what: "`record` observes".to_owned(),
                        seconds: 2 * PATIENCE.as_secs(),
                        state: recording.stderr.clone(),
                    });
                }
            }
        }
        Ok(recording)
    }

    /// Ends it as Ctrl-C does; anything but exit 0 is an error. Where the file is, and what it said.
    pub fn end(mut self) -> Result<(PathBuf, String), ToolError> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::INT).map_err(|errno| ToolError::child("signal")(errno.into()))?;
        let ended = reap::wait_at_most(&mut self.child, PATIENCE).map_err(ToolError::child("wait for"))?;
        while let Ok(line) = self.lines.recv() {
            self.note(&line);
        }
        match ended {
            Some(status) if status.success() => Ok((self.path.clone(), self.stderr.clone())),
            Some(status) => Err(ToolError::Ended {
                status: status.to_string(),
                stderr: self.stderr.clone(),
            }),
            None => Err(ToolError::StillRunning {
                args: "record".to_owned(),
                seconds: PATIENCE.as_secs(),
                stderr: self.stderr.clone(),
            }),
        }
    }

    /// Where it is being written.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn note(&mut self, line: &str) {
        self.stderr.push_str(line);
        self.stderr.push('\n');
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        reap::kill(&mut self.child);
    }
}
