//! `serve`: the daemon. Judges its settings, splits, opens what they ask for, gives up what it no longer needs, and lives.

use std::io::{self, Write as _};

use anyhow::Result;
use log::LevelFilter;
use tokio::task::spawn_local;

use super::split::give_up_privileges;
use crate::{
    broker,
    cli::Serve,
    daemon::{
        config::{Settings, Surroundings},
        endpoint::{Endpoint, HttpCounts, Scraper, scrapes},
        exposition::Exposition,
        metrics::process::ProcessReader,
        opening,
        station::Daemon,
    },
    escape::escape_line,
    exit::Exit,
    identity::filter::VmFilter,
    live::{self, LiveOptions},
    logging,
    privilege::{Account, confine},
    sink::OutputError,
};

/// Judges the settings, and serves until a signal ends it.
///
/// # Errors
/// A [`ConfigError`](crate::daemon::config::ConfigError), an [`OpenError`](opening::OpenError), an
/// [`Obstacle`](crate::kernel::obstacle::Obstacle), or privileges that cannot be given up.
pub fn run(arguments: &Serve) -> Result<Exit> {
    let settings = Settings::load(arguments, &Surroundings::read())?;
    if arguments.check_config {
        tell(&settings).map_err(OutputError)?;
        return Ok(Exit::Done);
    }
    let account = settings.user.as_deref().map(Account::find).transpose()?;
    let endpoint = opening::endpoint(&settings)?;
    let broker = broker::split(&settings.observer)?;
    // From here on in the process that shall have no privileges. Only its own reader may count its descriptors later.
    let process = ProcessReader::open()
        .inspect_err(|error| log::warn!("there are no metrics of the process itself: {error}"))
        .ok();
    give_up_privileges(&broker, account.as_ref())?;

    settings.prepare()?;
    let outlets = opening::outlets(&settings)?;
    let textfile = opening::textfile(&settings)?;
    let notifier = opening::notifier()?;
    if settings.sandbox {
        let confined = confine(&opening::sandbox(&settings))?;
        log::info!("confined: {confined}");
    } else {
        log::warn!("not confined by seccomp and landlock, as asked for");
    }
    logging::never_wait();

    let options = LiveOptions {
        settle: settings.settle,
        filter: VmFilter::new(settings.vm.clone()),
        wait: true,
        must_match: false,
        persist: true,
    };
    let http = HttpCounts::default();
    let exposition = Exposition::new(
        settings.vcpu_metrics,
        http.clone(),
        process,
        textfile.map(|file| (file, settings.textfile_interval)),
    );
    let (scraper, scrapes) = scrapes();
    live::block_on(async {
        if let Some(endpoint) = endpoint {
            let connections = usize::try_from(settings.max_connections).unwrap_or(usize::MAX);
            spawn_local(answer(endpoint, connections, scraper, http));
        }
        let mut daemon = Daemon::new(outlets, exposition, notifier, scrapes)?;
        live::run(broker, options, &mut daemon).await
    })?;
    Ok(Exit::Done)
}

/// Serves the metrics for as long as the loop runs.
async fn answer(endpoint: Endpoint, connections: usize, scraper: Scraper, counts: HttpCounts) {
    match endpoint.address() {
        Ok(address) => log::info!("metrics at http://{address}/metrics"),
        Err(error) => log::warn!("the address of the metrics is not known: {error}"),
    }
    let Err(error) = endpoint.serve(connections, scraper, counts).await;
    log::error!("metrics are not served: {error}");
}

/// `FILE: ok`, and with `-v` what it comes to.
fn tell(settings: &Settings) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match &settings.file {
        Some(file) => writeln!(out, "{}: ok", escape_line(&file.display().to_string()))?,
        None => writeln!(out, "no configuration file; flags and defaults: ok")?,
    }
    if log::max_level() > LevelFilter::Info {
        for line in settings.to_string().lines() {
            writeln!(out, "{}", escape_line(line))?;
        }
    }
    out.flush()
}
