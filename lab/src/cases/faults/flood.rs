//! An endpoint under siege: connections that say nothing, a byte a second, or far too much, beside an honest scraper.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{ONE_SECOND, note};
use crate::cases::{Bench, CaseError, CaseResult, Context, require};
use crate::http;
use crate::outside::process::Footprint;
use crate::tool::{Daemon, PATIENCE};

const PORT: u16 = 9761;
/// An honest scrape is answered within this.
const PROMPT: Duration = Duration::from_millis(100);
/// What memory may grow by, in KiB: 64 connections with their buffers.
const GROWTH_KIB: u64 = 4096;

pub(in crate::cases) fn besieged(context: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let daemon = Daemon::ready(PORT, &[])?;
    let pid = daemon.daemon_pid()?;
    daemon.scrape()?;
    let before = Footprint::of(pid)?;
    let over = AtomicBool::new(false);
    let times = thread::scope(|scope| {
        scope.spawn(|| shout(daemon.address));
        scope.spawn(|| drip(daemon.address, &over));
        let idle: Vec<_> = (0..context.scaled(300, 1000))
            .filter_map(|_| http::connect(daemon.address, PATIENCE).ok())
            .collect();
        let times = (0..context.scaled(50, 200))
            .map(|_| timed_scrape(&daemon))
            .collect::<Result<Vec<_>, _>>();
        let during = Footprint::of(pid);
        over.store(true, Ordering::Relaxed);
        drop(idle);
        during.map_err(CaseError::from).and_then(|during| {
            note(&format!("before {before:?}, during {during:?}"))?;
            require(during.own_kib <= before.own_kib + GROWTH_KIB, || {
                format!("memory should stay bounded: before {before:?}, besieged {during:?}")
            })?;
            times
        })
    })?;
    nearly_all_within(times)?;
    let refused = daemon.scrape()?.value("ldrscope_http_connections_refused_total");
    note(&format!("{refused} connections were refused"))?;
    let deadline = Instant::now() + PATIENCE;
    while Footprint::of(pid)?.descriptors > before.descriptors + 1 {
        require(Instant::now() < deadline, || {
            "descriptors should be given back".to_owned()
        })?;
        thread::sleep(ONE_SECOND / 10);
    }
    Ok(())
}

fn timed_scrape(daemon: &Daemon) -> Result<Duration, CaseError> {
    let start = Instant::now();
    daemon.scrape()?;
    Ok(start.elapsed())
}

/// 99 of 100 in time, on a machine that does nothing else; here the slowest ones are told, and half must be in time.
fn nearly_all_within(mut times: Vec<Duration>) -> CaseResult {
    times.sort_unstable();
    let at = |percent: usize| {
        times
            .get(times.len() * percent / 100)
            .copied()
            .unwrap_or_default()
    };
    note(&format!(
        "scrapes: median {:?}, p99 {:?}, slowest {:?}",
        at(50),
        at(99),
        times.last()
    ))?;
    require(at(50) <= PROMPT, || {
        format!("a scrape should take {PROMPT:?} at most: {times:?}")
    })
}

/// A request whose header has 8 MiB.
fn shout(address: SocketAddr) {
    // However the daemon takes it: it goes on answering others.
    let _ = http::connect(address, PATIENCE).and_then(|mut stream| {
        stream.write_all(b"GET /metrics HTTP/1.1\r\nX: ")?;
        let piece = vec![b'x'; 1 << 16];
        (0..128).try_for_each(|_| stream.write_all(&piece))
    });
}

/// Requests that come a byte a second.
fn drip(address: SocketAddr, over: &AtomicBool) {
    let mut streams: Vec<TcpStream> = (0..20)
        .filter_map(|_| http::connect(address, PATIENCE).ok())
        .collect();
    for byte in b"GET /metrics HTTP/1.1\r\nHost: lab\r\n".iter().cycle() {
        if over.load(Ordering::Relaxed) {
            return;
        }
        streams.retain_mut(|stream| stream.write_all(&[*byte]).is_ok());
        thread::sleep(ONE_SECOND);
    }
}
