//! QEMU's machine protocol (QMP) over its standard streams: one command at a time, each answered within a limit. Events
//! that QEMU tells on the way are passed over.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::QemuError;

/// How long an answer may take: QEMU starts from a cold disk, under emulation.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// The monitor of one QEMU.
#[derive(Debug)]
pub(crate) struct Monitor {
    name: String,
    input: ChildStdin,
    lines: Receiver<Value>,
}

impl Monitor {
    /// Takes the piped streams of `child` and opens the conversation.
    pub(crate) fn open(name: &str, child: &mut Child) -> Result<Self, QemuError> {
        let unpiped = || QemuError::Process {
            action: "reach",
            name: name.to_owned(),
            source: std::io::ErrorKind::BrokenPipe.into(),
        };
        let input = child.stdin.take().ok_or_else(unpiped)?;
        let output = child.stdout.take().ok_or_else(unpiped)?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            for value in lines.filter_map(|line| serde_json::from_str(&line).ok()) {
                if sender.send(value).is_err() {
                    break;
                }
            }
        });
        let mut monitor = Self {
            name: name.to_owned(),
            input,
            lines,
        };
        monitor.execute("qmp_capabilities", json!({}))?;
        Ok(monitor)
    }

    /// Has QEMU execute `command` and returns what it answers.
    pub(crate) fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, QemuError> {
        let line = json!({"execute": command, "arguments": arguments}).to_string();
        writeln!(self.input, "{line}")
            .and_then(|()| self.input.flush())
            .map_err(|source| QemuError::Process {
                action: "command",
                name: self.name.clone(),
                source,
            })?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(mut answer) = self.lines.recv_timeout(left) else {
                return Err(QemuError::Silent {
                    name: self.name.clone(),
                    command: command.to_owned(),
                    seconds: PATIENCE.as_secs(),
                });
            };
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
            if let Some(error) = answer.get("error") {
                return Err(QemuError::Refused {
                    name: self.name.clone(),
                    command: command.to_owned(),
                    reason: error["desc"].as_str().unwrap_or("no reason").to_owned(),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use serde_json::json;

    use super::{Monitor, QemuError};

    #[test]
    fn answers_are_told_from_events_and_refusals() {
        let answers = [
            r#"{"QMP": {"version": {}, "capabilities": []}}"#,
            r#"{"return": {}}"#,
            r#"{"event": "RESUME", "timestamp": {}}"#,
            r#"{"return": {"status": "running"}}"#,
            r#"{"error": {"class": "GenericError", "desc": "no such thing"}}"#,
        ];
        let mut child = Command::new("sh")
            .args(["-c", "printf '%s\\n' \"$@\"; cat > /dev/null", "sh"])
            .args(answers)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut monitor = Monitor::open("guest", &mut child).unwrap();
        let status = monitor.execute("query-status", json!({})).unwrap();
        assert_eq!(status["status"], "running");
        let refusal = monitor.execute("migrate", json!({"uri": "nowhere"}));
        assert!(matches!(refusal, Err(QemuError::Refused { reason, .. }) if reason == "no such thing"));
        drop(monitor);
        child.wait().unwrap();
    }
}
