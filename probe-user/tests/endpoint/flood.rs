//! Everything at once that could keep a good scrape from its answer.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    client::{connect, request},
    server::{Loop, Server},
};

const SEATS: usize = 64;
const IDLE: usize = 1000;
const SLOW: usize = 50;
const UNREADING: usize = 100;
const AT_ONCE: usize = 200;
const SCRAPES: usize = 150;
/// More than any machine needs; what was measured is printed.
const BOUND: Duration = Duration::from_secs(2);
/// The server's and the clients' together.
const MEMORY_BOUND: u64 = 96 << 20;

/// As of a hundred VMs, some with findings.
const BYTES: usize = 100_000;

const BUSY: Loop = Loop::Answers {
    bytes: BYTES,
    work: Duration::from_millis(3),
};

#[test]
fn a_good_scrape_is_answered_through_every_flood() {
    let server = Server::start(SEATS, BUSY);
    let address = server.address;
    let calm = scrapes(address);
    let before = resident();

    let stop = Arc::new(AtomicBool::new(false));
    let too_large = Arc::new(AtomicUsize::new(0));
    let idle: Vec<TcpStream> = (0..IDLE).map(|_| connect(address)).collect();
    let floods: Vec<_> = [
        while_not(&stop, move || a_byte_a_second(address)),
        while_not(&stop, move || never_read(address)),
        while_not(&stop, move || all_at_once(address)),
        {
            let too_large = too_large.clone();
            while_not(&stop, move || {
                too_large.fetch_add(usize::from(eight_mib_of_header(address)), Ordering::Relaxed);
            })
        },
    ]
    .into();
    thread::sleep(Duration::from_millis(300));
    let flooded = scrapes(address);
    let after = resident();
    stop.store(true, Ordering::Relaxed);
    for flood in floods {
        flood.join().unwrap();
    }
    drop(idle);

    let ended = server.end();
    println!("calm: {calm}\nflooded: {flooded}");
    println!(
        "memory before {} KiB, after {} KiB; the loop was asked {} times; counted {:?}",
        before >> 10,
        after >> 10,
        ended.asked,
        ended.counted
    );
    assert!(calm.failed.is_empty(), "{calm}");
    assert!(flooded.failed.len() * 100 <= SCRAPES, "{flooded}");
    assert!(flooded.p99 < BOUND, "{flooded}");
    assert!(after.saturating_sub(before) < MEMORY_BOUND);
    assert!(too_large.load(Ordering::Relaxed) > 0);
    assert!(ended.counted.refused >= (IDLE - SEATS) as u64);
}

/// What good scrapes met.
struct Latency {
    p50: Duration,
    p99: Duration,
    worst: Duration,
    /// What those met that got no metrics.
    failed: Vec<String>,
}

impl std::fmt::Display for Latency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "p50 {:?}, p99 {:?}, worst {:?}, of {SCRAPES} failed {:?}",
            self.p50, self.p99, self.worst, self.failed
        )
    }
}

fn scrapes(address: SocketAddr) -> Latency {
    let mut took = Vec::new();
    let mut failed = Vec::new();
    for _ in 0..SCRAPES {
        let begin = Instant::now();
        match request(address, "GET", "/metrics") {
            Ok(answer) if answer.code == 200 && answer.body.len() == BYTES => took.push(begin.elapsed()),
            Ok(answer) => failed.push(answer.code.to_string()),
            Err(error) => failed.push(error.to_string()),
        }
        thread::sleep(Duration::from_millis(20));
    }
    took.sort();
    Latency {
        p50: took[took.len() / 2],
        p99: took[took.len() * 99 / 100],
        worst: took[took.len() - 1],
        failed,
    }
}

fn while_not(stop: &Arc<AtomicBool>, flood: impl Fn() + Send + 'static) -> thread::JoinHandle<()> {
    let stop = stop.clone();
    thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            flood();
        }
    })
}

/// Clients that send a request at a byte a second, for three seconds.
fn a_byte_a_second(address: SocketAddr) {
    let mut clients: Vec<TcpStream> = (0..SLOW).map(|_| connect(address)).collect();
    for byte in b"GET" {
        for client in &mut clients {
            // It may have had to make room.
            let _ = client.write(&[*byte]);
        }
        thread::sleep(Duration::from_secs(1));
    }
}

/// Clients that ask and do not read the answer, for two seconds.
fn never_read(address: SocketAddr) {
    let mut clients: Vec<TcpStream> = (0..UNREADING).map(|_| connect(address)).collect();
    for client in &mut clients {
        let _ = client.write_all(&b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(20));
    }
    thread::sleep(Duration::from_secs(2));
}

fn all_at_once(address: SocketAddr) {
    let barrier = Arc::new(Barrier::new(AT_ONCE));
    let clients: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let barrier = barrier.clone();
            thread::spawn(move || {
                barrier.wait();
                let _ = request(address, "GET", "/metrics");
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    thread::sleep(Duration::from_millis(500));
}

/// True where it is told that this is too large.
fn eight_mib_of_header(address: SocketAddr) -> bool {
    let mut client = connect(address);
    let _ = client.write_all(b"GET /metrics HTTP/1.1\r\nX: ");
    let some = [b'x'; 64 << 10];
    for _ in 0..128 {
        if client.write_all(&some).is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer);
    answer.starts_with(b"HTTP/1.1 431 ")
}

/// Resident memory of this process in bytes.
fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
