//! `top` in a real terminal: the example recordings in tmux, at a usual and a large size. Keys are pressed as a person presses them, and what the
//! terminal shows is read back from it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::{paths, tool};

const RECORDING: &str = "docs/examples/kdump-2019-on-6.1.ldrrec";
/// When the kdump kernel of that recording waits for its timer.
const WAITING: &str = "2026-11-26T01:21:35Z";

/// Until a screen is as it should be.
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);

const SIZES: [(u16, u16); 2] = [(80, 24), (200, 60)];

/// Fails with the screen that is not as it should be.
pub(super) fn check(ldrscope: &Path) -> Result<()> {
    for size in SIZES {
        let mut terminal = Terminal::open(size)?;
        story(&mut terminal, ldrscope, size).with_context(|| format!("at {}x{}", size.0, size.1))?;
    }
    Ok(())
}

/// What a person does who has got a recording.
fn story(terminal: &mut Terminal, ldrscope: &Path, (width, _): (u16, u16)) -> Result<()> {
    let recording = paths::workspace().join(RECORDING);
    terminal.types(&format!(
        "NO_COLOR=1 {} top --from {} --at {WAITING} --snapshot-dir {}; echo ended with $?",
        ldrscope.display(),
        recording.display(),
        terminal.directory.path().display()
    ))?;
    terminal.shows(&[
        "1 VM: 1 critical",
        "critical  task-1 (pid 1)",
        "map rules overwrite",
        "PAUSED",
    ])?;

    terminal.press(&["/", "n", "o", "n", "e"])?;
    terminal.shows(&["filter: none_", "None of the VMs matches `none`."])?;
    terminal.press(&["Escape"])?;
    terminal.shows(&["critical  task-1 (pid 1)"])?;
    terminal.press(&["?"])?;
    terminal.shows(&["any other key closes", "next and previous part of a VM's screen"])?;
    terminal.press(&["Escape", "Enter"])?;
    terminal.shows(&[
        "maps agree",
        "published  15!",
        "rebuilt    15!",
        "critical ldr-collision  slot 0",
        "2 findings (6)",
    ])?;
    terminal.press(&["1"])?;
    terminal.shows(&["! slot 0: vCPU 15 has it alone; vCPUs 0, 1, 3, 5, 7, 9, 11, 13 claim it as well"])?;
    terminal.press(&["3", "End"])?;
    terminal.shows(&["15   15 xapic  0x0f000000 0000 1111", "guest-write"])?;
    terminal.press(&["4"])?;
    terminal.shows(&["written by the guest, vCPU 0, LDR 0x00000000 -> 0x01000000"])?;
    if width > 150 {
        terminal.shows(&["1 map", "2 findings (6)", "3 vCPUs (16)", "4 timeline ("])?;
    }
    terminal.press(&["S"])?;
    terminal.shows(&["snapshot written: ", "ldrscope-20261126T012135Z.json"])?;
    let snapshot = terminal.directory.path().join("ldrscope-20261126T012135Z.json");
    let text = fs::read_to_string(&snapshot).context("the snapshot that it says it wrote")?;
    ensure!(
        text.starts_with("{\"schema\":\"ldrscope.snapshot.v1\""),
        "the snapshot is none: {text}"
    );

    // The terminal becomes another, and too small a one.
    terminal.resize((40, 10))?;
    terminal.shows(&["needs at least 60x16"])?;
    terminal.resize((100, 30))?;
    terminal.shows(&["4 timeline ("])?;
    terminal.press(&["Space", "Escape"])?;
    terminal.shows(&[
        "END",
        "this is the end of the recording",
        "No VM runs at this moment",
    ])?;
    terminal.press(&["q"])?;
    terminal.shows(&["ended with 0"])?;
    let after = terminal.tmux(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"])?;
    ensure!(
        after.trim() == "0 1",
        "the usual screen and the cursor should be back, but tmux has them as {after}"
    );
    terminal.types("stty -a | grep -o ' echo ' | tr -d ' ' | sed s/^/terminal-/")?;
    terminal.shows(&["\nterminal-echo"])
}

/// A tmux of its own with one window; it ends with this.
struct Terminal {
    socket: PathBuf,
    directory: TempDir,
}

impl Terminal {
    fn open((width, height): (u16, u16)) -> Result<Self> {
        let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
        let terminal = Self {
            socket: directory.path().join("tmux"),
            directory,
        };
        let (width, height) = (width.to_string(), height.to_string());
        terminal.tmux(&[
            "new-session",
            "-d",
            "-x",
            &width,
            "-y",
            &height,
            "env PS1='$ ' sh",
        ])?;
        // A line of its own would take one from the window.
        terminal.tmux(&["set-option", "-g", "status", "off"])?;
        terminal.tmux(&["resize-window", "-x", &width, "-y", &height])?;
        Ok(terminal)
    }

    fn resize(&self, (width, height): (u16, u16)) -> Result<()> {
        let (width, height) = (width.to_string(), height.to_string());
        self.tmux(&["resize-window", "-x", &width, "-y", &height])
            .map(drop)
    }

    /// Types a line and ends it.
    fn types(&self, line: &str) -> Result<()> {
        self.tmux(&["send-keys", "-l", line])?;
        self.press(&["Enter"])
    }

    fn press(&self, keys: &[&str]) -> Result<()> {
        for key in keys {
            self.tmux(&["send-keys", key])?;
            // An Escape with a key right behind it is another key.
            if *key == "Escape" {
                thread::sleep(Duration::from_millis(200));
            }
        }
        Ok(())
    }

    fn screen(&self) -> Result<String> {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until the window shows all of it.
    fn shows(&self, parts: &[&str]) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen()?;
            let Some(missing) = parts.iter().find(|part| !screen.contains(**part)) else {
                return Ok(());
            };
            ensure!(
                Instant::now() < deadline,
                "the terminal does not show `{missing}` but\n{screen}"
            );
            thread::sleep(POLL);
        }
    }

    fn tmux(&self, arguments: &[&str]) -> Result<String> {
        tool::capture(self.command().args(arguments))
    }

    fn command(&self) -> Command {
        let mut tmux = tool::command("tmux");
        tmux.args(["-u", "-f", "/dev/null", "-S"])
            .arg(&self.socket)
            .env_remove("TMUX")
            .env_remove("NO_COLOR");
        tmux
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // One that has ended already needs no end.
        let _ = tool::quiet(self.command().arg("kill-server"));
    }
}
