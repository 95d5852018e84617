//! A stand-in for an exporter: answers every request with the text that it was last given. It shows that Prometheus and its
//! rules work in the lab before anything of ldrscope's is in play.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// A served text. Its thread lives as long as the process.
#[derive(Debug)]
pub struct Exporter {
    address: SocketAddr,
    text: Arc<Mutex<String>>,
}

impl Exporter {
    /// Serves `text` on a free port of the loopback.
    pub fn start(text: &str) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let text = Arc::new(Mutex::new(text.to_owned()));
        let served = Arc::clone(&text);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let text = served.lock().unwrap_or_else(PoisonError::into_inner).clone();
                // A client that has gone asks again.
                let _ = answer(stream, &text);
            }
        });
        Ok(Self { address, text })
    }

    /// Serves `text` from now on.
    pub fn serve(&self, text: &str) {
        text.clone_into(&mut self.text.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Where.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn answer(mut stream: TcpStream, text: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            read => request.extend_from_slice(&buffer[..read]),
        }
    }
    let length = text.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}"
    )
}

#[cfg(test)]
mod tests {
    use super::Exporter;
    use crate::{fleet::PATIENCE, http};

    #[test]
    fn what_it_was_given_last_is_served() {
        let exporter = Exporter::start("up 1\n").unwrap();
        assert_eq!(
            http::get(exporter.address(), "/metrics", PATIENCE).unwrap().body,
            "up 1\n"
        );
        exporter.serve("up 0\n");
        let answer = http::get(exporter.address(), "/metrics", PATIENCE).unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "up 0\n"));
    }
}
