//! What is where, and what a single client may do.

use std::{
    io::{Read as _, Write as _},
    thread,
    time::{Duration, Instant},
};

use crate::{
    client::{connect, parse, request, request_on},
    server::{Loop, Server},
};

const QUICK: Loop = Loop::Answers {
    bytes: 100_000,
    work: Duration::ZERO,
};

#[test]
fn every_page_has_its_status_type_and_body() {
    let server = Server::start(4, QUICK);
    let get = |method, path| request(server.address, method, path).unwrap();

    let metrics = get("GET", "/metrics");
    assert_eq!((metrics.code, metrics.body.len()), (200, 100_000));
    assert!(
        metrics
            .head
            .contains("content-type: text/plain; version=0.0.4; charset=utf-8")
    );
    let asked_with_a_query = get("GET", "/metrics?x=1");
    assert_eq!(asked_with_a_query.code, 200);

    let head = get("HEAD", "/metrics");
    assert_eq!((head.code, head.body.as_str()), (200, ""));
    assert!(head.head.contains("content-length: 100000"));

    let front = get("GET", "/");
    assert!(front.code == 200 && front.body.contains("href=\"/metrics\""));
    assert!(front.head.contains("content-type: text/html"));

    let health = get("GET", "/healthz");
    assert_eq!((health.code, health.body.as_str()), (200, "ldrscope watches.\n"));

    assert_eq!(get("GET", "/secret").code, 404);
    assert_eq!(get("POST", "/secret").code, 404);
    for method in ["POST", "PUT", "DELETE", "BREW"] {
        let refused = get(method, "/metrics");
        assert_eq!(refused.code, 405);
        assert!(refused.head.contains("allow: get, head"));
    }
    let counted = server.end().counted;
    assert_eq!(
        counted.requests.into_iter().collect::<Vec<_>>(),
        [(200, 5), (404, 2), (405, 4)]
    );
    assert_eq!(counted.refused, 0);
}

#[test]
fn a_connection_is_kept_and_answers_are_given_again() {
    let server = Server::start(4, QUICK);
    let begin = Instant::now();
    let mut stream = connect(server.address);
    for _ in 0..20 {
        assert_eq!(request_on(&mut stream, "/metrics").unwrap().code, 200);
    }
    assert_eq!(request_on(&mut stream, "/nowhere").unwrap().code, 404);
    // One answer is good for 200 ms, on however slow a machine.
    let asked = u128::try_from(server.end().asked).unwrap();
    assert!(asked <= 1 + begin.elapsed().as_millis() / 200, "{asked}");
}

#[test]
fn a_loop_that_sees_nothing_is_unhealthy_and_still_exposed() {
    let server = Server::start(4, Loop::SeesNothing);
    let health = request(server.address, "GET", "/healthz").unwrap();
    assert_eq!(health.code, 503);
    assert!(health.body.contains("not attached"));
    let metrics = request(server.address, "GET", "/metrics").unwrap();
    assert_eq!((metrics.code, metrics.body.as_str()), (200, "ldrscope_up 0\n"));
}

#[test]
fn a_loop_that_hangs_is_told_of_within_its_patience() {
    let server = Server::start(8, Loop::Hangs);
    let begin = Instant::now();
    let clients: Vec<_> = ["/metrics", "/healthz", "/metrics"]
        .into_iter()
        .map(|path| {
            let address = server.address;
            thread::spawn(move || request(address, "GET", path).unwrap())
        })
        .collect();
    for client in clients {
        let answer = client.join().unwrap();
        assert_eq!(answer.code, 503);
        assert!(answer.body.contains("does not answer"));
    }
    let took = begin.elapsed();
    assert!(
        (Duration::from_millis(1900)..Duration::from_secs(10)).contains(&took),
        "{took:?}"
    );
    assert_eq!(request(server.address, "GET", "/").unwrap().code, 200);
}

#[test]
fn what_is_no_request_or_too_long_a_one_is_refused() {
    let server = Server::start(4, QUICK);
    let answer_to = |bytes: &[u8]| {
        let mut stream = connect(server.address);
        stream.write_all(bytes).unwrap();
        let mut text = String::new();
        // The server closes at once what it does not want to read to its end.
        let _ = stream.read_to_string(&mut text);
        parse(&text).unwrap().code
    };
    assert_eq!(answer_to(b"\x16\x03\x01 hello\r\n\r\n"), 400);
    let long = format!("GET /metrics HTTP/1.1\r\nX: {}", "x".repeat(16 << 10));
    assert_eq!(answer_to(long.as_bytes()), 431);
    let fits = format!(
        "GET / HTTP/1.1\r\nConnection: close\r\nX: {}\r\n\r\n",
        "x".repeat(12 << 10)
    );
    assert_eq!(answer_to(fits.as_bytes()), 200);
    let counted = server.end().counted.requests;
    assert_eq!(
        counted.into_iter().collect::<Vec<_>>(),
        [(200, 1), (400, 1), (431, 1)]
    );
}

#[test]
fn a_header_that_takes_too_long_ends_the_connection() {
    let server = Server::start(4, QUICK);
    let begin = Instant::now();
    let mut stream = connect(server.address);
    stream.write_all(b"GET /metrics HTTP/1.1\r\nX: ").unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    let took = begin.elapsed();
    assert!(rest.is_empty());
    assert!(
        (Duration::from_secs(4)..Duration::from_secs(20)).contains(&took),
        "{took:?}"
    );
}

#[test]
fn an_answer_that_is_not_read_ends_the_connection() {
    let server = Server::start(4, QUICK);
    let begin = Instant::now();
    let mut stream = connect(server.address);
    stream
        .set_write_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    // More than the kernels of both sides keep.
    let asked = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(500);
    stream.write_all(&asked).unwrap();
    let broken = loop {
        thread::sleep(Duration::from_millis(200));
        match stream.write(b"G") {
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => break error,
            _ => assert!(
                begin.elapsed() < Duration::from_secs(60),
                "the connection is kept"
            ),
        }
    };
    let took = begin.elapsed();
    assert!(
        (Duration::from_secs(9)..Duration::from_secs(30)).contains(&took),
        "{took:?}: {broken}"
    );
}

#[test]
fn the_longest_idle_connection_gives_way_and_one_being_answered_does_not() {
    let server = Server::start(2, QUICK);
    let mut oldest = connect(server.address);
    let mut kept = connect(server.address);
    // It has had an answer since: the other one is idle for longer.
    assert_eq!(request_on(&mut kept, "/metrics").unwrap().code, 200);
    let mut third = connect(server.address);
    assert_eq!(request_on(&mut third, "/").unwrap().code, 200);
    assert_eq!(oldest.read(&mut [0]).unwrap_or(0), 0);
    assert_eq!(request_on(&mut kept, "/").unwrap().code, 200);
    assert_eq!(server.end().counted.refused, 1);

    let busy = Server::start(2, Loop::Hangs);
    let mut waiting: Vec<_> = (0..2).map(|_| connect(busy.address)).collect();
    for stream in &mut waiting {
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
    }
    thread::sleep(Duration::from_millis(300));
    let turned_away = request(busy.address, "GET", "/metrics").unwrap();
    assert_eq!(turned_away.code, 503);
    assert!(turned_away.body.contains("--max-connections"));
    assert_eq!(busy.end().counted.refused, 1);
}
