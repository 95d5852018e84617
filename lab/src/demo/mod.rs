//! The demo: the 2019 failure in a real VM, side by side with what `ldrscope watch` says about it, then the
//! snapshot and a two-line verdict. Twice: the dead CPUs' APICs left enabled, and disabled first.
//! Printing two streams beside each other is `screen`'s, deciding whether it went as expected `verdict`'s.

mod screen;
mod verdict;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::Child;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::exhibit::{ExhibitError, kdump_story};
use crate::host::{MapRules, Series, UnknownSeries};
use crate::reap;
use crate::scenario::{DeadCpus, Kdump};
use crate::tool::{PATIENCE, ToolError, command, run_to_end, snapshot, start};
use screen::{Screen, Speaker};
use verdict::Verdict;

/// Between the steps of the story: time to read, and several settle times for ldrscope.
const PAUSE: Duration = Duration::from_millis(1500);

/// The demo could not be given.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The host's kernel is unknown.
    #[error(transparent)]
    Host(#[from] UnknownSeries),
    /// The guest failed.
    #[error(transparent)]
    Guest(#[from] ExhibitError),
    /// ldrscope failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The output could not be written.
    #[error("cannot write the demo's output: {0}")]
    Output(#[from] io::Error),
}

/// A line of the story or of ldrscope.
type Said = (Speaker, String);

/// Gives the demo on `out`. True if the guest and ldrscope both did as expected on this host, in both variants.
pub fn run(out: &mut dyn Write) -> Result<bool, DemoError> {
    let rules = Series::running()?.map_rules();
    let mut as_expected = true;
    for others in [DeadCpus::LeftEnabled, DeadCpus::Disabled] {
        as_expected &= act(others, rules, out)?;
    }
    Ok(as_expected)
}

fn act(others: DeadCpus, rules: MapRules, out: &mut dyn Write) -> Result<bool, DemoError> {
    let title = match others {
        DeadCpus::LeftEnabled => "kdump after bigsmp, the dead CPUs' APICs left enabled",
        DeadCpus::Disabled => "kdump after bigsmp, the dead CPUs' APICs disabled first",
    };
    let mut screen = Screen::new(out);
    screen.title(title)?;

    let (says, said) = channel();
    let watch = TextWatch::start(&says)?;
    watch.show_start(&said, &mut screen)?;
    let (kdump, ticks) = tell(others, &says, &said, &mut screen)?;

    let table = run_to_end(command(&["snapshot"]))?;
    let state = snapshot(&[])?;
    drop(watch);
    drop(says);
    for (speaker, line) in said {
        screen.line(speaker, &line)?;
    }
    screen.block("ldrscope snapshot", &table.stdout)?;

    let verdict = Verdict::of(others, rules, ticks, &state);
    screen.block("verdict", &verdict.to_string())?;
    // The guest must outlive the snapshots.
    drop(kdump);
    Ok(verdict.as_expected())
}

/// Runs the story on a thread of its own and shows what comes meanwhile. Returns the guest and its interrupt count.
fn tell(
    others: DeadCpus,
    says: &Sender<Said>,
    said: &Receiver<Said>,
    screen: &mut Screen<'_>,
) -> Result<(Kdump, u32), DemoError> {
    let guest_says = says.clone();
    let story = thread::spawn(move || {
        kdump_story(others, PAUSE, &mut |line| {
            guest_says
                .send((Speaker::Guest, line.to_owned()))
                .map_err(io::Error::other)
        })
    });
    while !story.is_finished() {
        show_for(Duration::from_millis(50), said, screen)?;
    }
    let kdump = story
        .join()
        .map_err(|_| io::Error::other("the guest's thread panicked"))??;
    let ticks = kdump.guest().ticks().map_err(ExhibitError::from)?;
    Ok((kdump, ticks))
}

fn show_for(time: Duration, said: &Receiver<Said>, screen: &mut Screen<'_>) -> io::Result<()> {
    let deadline = Instant::now() + time;
    while let Ok((speaker, line)) = said.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        screen.line(speaker, &line)?;
    }
    Ok(())
}

/// `ldrscope watch` in text form, its lines sent on as they come. Killed when dropped.
struct TextWatch(Child);

impl TextWatch {
    fn start(says: &Sender<Said>) -> Result<Self, ToolError> {
        let mut child = start(&mut command(&["watch"]))?;
        forward(child.stdout.take(), says.clone());
        forward(child.stderr.take(), says.clone());
        Ok(Self(child))
    }

    /// Shows lines until the first one has come: `watch` says what it watches once it does.
    fn show_start(&self, said: &Receiver<Said>, screen: &mut Screen<'_>) -> io::Result<()> {
        if let Ok((speaker, line)) = said.recv_timeout(2 * PATIENCE) {
            screen.line(speaker, &line)?;
        }
        show_for(PAUSE / 3, said, screen)
    }
}

impl Drop for TextWatch {
    fn drop(&mut self) {
        reap::kill(&mut self.0);
    }
}

fn forward<R: Read + Send + 'static>(pipe: Option<R>, says: Sender<Said>) {
    thread::spawn(move || {
        for line in pipe
            .into_iter()
            .flat_map(|pipe| BufReader::new(pipe).lines())
            .map_while(Result::ok)
        {
            if says.send((Speaker::Ldrscope, line)).is_err() {
                break;
            }
        }
    });
}
