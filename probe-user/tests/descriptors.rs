//! The endpoint in a process that has no file descriptors left: it waits, and goes on once there are some. In a test
//! program of its own, since that concerns the whole process.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "endpoint/client.rs"]
#[allow(dead_code, reason = "shared with the endpoint's other tests")]
mod client;
#[path = "endpoint/server.rs"]
#[allow(dead_code, reason = "shared with the endpoint's other tests")]
mod server;

use std::{fs::File, net::TcpStream, thread, time::Duration};

use ldrscope::daemon::metrics::process::ProcessReader;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::{
    client::request,
    server::{Loop, Server},
};

#[test]
fn an_endpoint_without_descriptors_neither_spins_nor_gives_up() {
    let mut process = ProcessReader::open().unwrap();
    let answers = Loop::Answers {
        bytes: 10,
        work: Duration::ZERO,
    };
    let server = Server::start(1000, answers);
    assert_eq!(request(server.address, "GET", "/metrics").unwrap().code, 200);

    let before = getrlimit(Resource::Nofile);
    let few = process.read().unwrap().open_fds.unwrap() + 40;
    let limit = Rlimit {
        current: Some(few),
        ..before
    };
    setrlimit(Resource::Nofile, limit).unwrap();
    let spare = File::open("/dev/null").unwrap();
    // Clients and server share what there is, until nothing is left for either.
    let mut clients = Vec::new();
    while let Ok(client) = TcpStream::connect(server.address) {
        clients.push(client);
    }
    thread::sleep(Duration::from_millis(200));
    // One more is connected and cannot be accepted, unless one waits already, whose turn it is now.
    drop(spare);
    clients.extend(TcpStream::connect(server.address));
    let busy = process.read().unwrap();
    assert!(clients.len() > 10);
    thread::sleep(Duration::from_secs(1));
    let spent = process.read().unwrap().cpu_seconds - busy.cpu_seconds;
    assert!(
        spent < 0.3,
        "a second without descriptors took {spent} s of CPU time"
    );

    drop(clients);
    setrlimit(Resource::Nofile, before).unwrap();
    thread::sleep(Duration::from_secs(2));
    assert_eq!(request(server.address, "GET", "/metrics").unwrap().code, 200);
}
