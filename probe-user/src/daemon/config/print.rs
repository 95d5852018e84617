//! Settings as the file that would make them: what `--check-config -v` shows.

use std::{fmt, path::Path};

use clap::ValueEnum as _;
use toml::Value;

use super::Settings;
use crate::{
    cli::{JournalMode, Listen, RateLimit},
    observer::HookSet,
};

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = |path: &Option<_>| path.as_deref().map(|path: &Path| path.display().to_string());
        let listen = self.listen.map_or(Listen::Off, Listen::At);
        let rate_limit = self.rate_limit.map_or(RateLimit::Off, RateLimit::To);
        let directory = |directory| path(directory).or_else(|| Some("none".to_owned()));
        let observer = &self.observer;
        text(f, "listen", Some(listen))?;
        text(f, "textfile", path(&self.textfile))?;
        text(
            f,
            "textfile-interval",
            Some(format!("{:?}", self.textfile_interval)),
        )?;
        text(f, "event-log", path(&self.event_log))?;
        text(f, "journal", Some(journal(self.journal)))?;
        text(f, "snapshot-dir", directory(&self.snapshot_dir))?;
        writeln!(f, "snapshot-keep = {}", self.snapshot_keep)?;
        writeln!(f, "snapshot-max-size = {}", self.snapshot_max_size)?;
        text(f, "recording-dir", directory(&self.recording_dir))?;
        writeln!(f, "recording-keep = {}", self.recording_keep)?;
        writeln!(f, "recording-max-size = {}", self.recording_max_size)?;
        writeln!(f, "recording-memory = {}", self.recording_memory)?;
        writeln!(f, "vcpu-metrics = {}", self.vcpu_metrics)?;
        writeln!(f, "program-stats = {}", observer.run_time)?;
        writeln!(f, "max-connections = {}", self.max_connections)?;
        text(f, "settle", Some(format!("{:?}", self.settle)))?;
        text(f, "vm", self.vm.as_ref())?;
        text(f, "rate-limit", Some(rate_limit))?;
        text(f, "user", self.user.as_ref())?;
        writeln!(f, "no-sandbox = {}", !self.sandbox)?;
        text(f, "hooks", Some(hooks(observer.hooks)))?;
        writeln!(f, "no-canary = {}", !observer.canary)?;
        text(f, "btf", path(&observer.btf))?;
        writeln!(f, "ring-size = {}", observer.ring_bytes)?;
        writeln!(f, "bpf-log = {}", observer.bpf_log)
    }
}

/// A text in TOML's quotes; an option that is not set has no line.
fn text(f: &mut fmt::Formatter<'_>, key: &str, value: Option<impl ToString>) -> fmt::Result {
    match value {
        Some(value) => writeln!(f, "{key} = {}", Value::String(value.to_string())),
        None => Ok(()),
    }
}

fn journal(mode: JournalMode) -> String {
    let word = mode.to_possible_value();
    word.map_or_else(String::new, |word| word.get_name().to_owned())
}

const fn hooks(hooks: HookSet) -> &'static str {
    match hooks {
        HookSet::Cold => "cold",
        HookSet::Precise => "precise",
        HookSet::Auto => "auto",
    }
}
