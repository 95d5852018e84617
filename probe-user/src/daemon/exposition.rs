//! The metrics of the running daemon: puts together what they are made of, for whoever scrapes and for the textfile.

use std::time::Duration;

use probe_apic::id::BootTime;

use super::{
    endpoint::HttpCounts,
    metrics::{self, Telemetry, process::ProcessReader},
    outlets::Outlets,
    textfile::Textfile,
};
use crate::{clock, live::Scene};

/// Name of the textfile among the outputs.
const TEXTFILE: &str = "textfile";

/// What the metrics are made of beside what the loop knows.
pub struct Exposition {
    vcpu_metrics: bool,
    http: HttpCounts,
    process: Option<ProcessReader>,
    textfile: Option<Periodic>,
}

/// A textfile that is written again and again.
struct Periodic {
    file: Textfile,
    every: u64,
    next: BootTime,
}

impl Exposition {
    /// Exposes over `http`, whose counts these are, and into `textfile`, so often.
    #[must_use]
    pub fn new(
        vcpu_metrics: bool,
        http: HttpCounts,
        process: Option<ProcessReader>,
        textfile: Option<(Textfile, Duration)>,
    ) -> Self {
        let periodic = |(file, every): (Textfile, Duration)| Periodic {
            file,
            every: clock::whole_nanos(every),
            next: BootTime(0),
        };
        Self {
            vcpu_metrics,
            http,
            process,
            textfile: textfile.map(periodic),
        }
    }

    /// The text that a scrape gets.
    pub fn text(&mut self, scene: &Scene<'_>, outlets: &Outlets) -> String {
        self.render(scene, outlets, scene.engine.is_some(), metrics::render)
    }

    /// Writes the textfile where it is due.
    pub fn tick(&mut self, scene: &Scene<'_>, outlets: &mut Outlets) {
        let now = clock::now();
        if self.next_due().is_some_and(|due| due <= now) {
            self.write(scene, outlets, scene.engine.is_some());
        }
    }

    /// When to call [`Self::tick`] next.
    #[must_use]
    pub fn next_due(&self) -> Option<BootTime> {
        self.textfile.as_ref().map(|textfile| textfile.next)
    }

    /// Leaves a textfile that says that nothing is observed any more.
    pub fn finish(&mut self, scene: &Scene<'_>, outlets: &mut Outlets) {
        self.write(scene, outlets, false);
    }

    fn write(&mut self, scene: &Scene<'_>, outlets: &mut Outlets, up: bool) {
        if self.textfile.is_none() {
            return;
        }
        let text = self.render(scene, outlets, up, metrics::render_textfile);
        if let Some(textfile) = &mut self.textfile {
            textfile.next = clock::now().plus(textfile.every);
            if let Err(error) = textfile.file.write(&text) {
                outlets.failed(TEXTFILE, &error);
            }
        }
    }

    fn render(
        &mut self,
        scene: &Scene<'_>,
        outlets: &Outlets,
        up: bool,
        render: impl Fn(&Telemetry<'_>) -> String,
    ) -> String {
        let host = scene
            .engine
            .filter(|_| up)
            .map(|engine| engine.standing(clock::now()));
        let mut outputs = outlets.counters();
        if self.textfile.is_some() {
            outputs.errors.entry(TEXTFILE).or_default();
        }
        render(&Telemetry {
            up,
            host: host.as_ref(),
            vcpu_metrics: self.vcpu_metrics,
            tally: &scene.tally,
            counts: scene.counts,
            attachments: scene.attachments,
            programs: &scene.program_runs(),
            outputs: &outputs,
            http: &self.http.read(),
            process: self.process.as_mut().and_then(ProcessReader::read),
        })
    }
}
