//! An endpoint on a thread of its own, beside a loop as the daemon's that answers it.

use std::{net::SocketAddr, sync::mpsc, thread, time::Duration};

use ldrscope::daemon::{
    endpoint::{Endpoint, HttpCounts, scrapes},
    metrics::HttpCounters,
};
use tokio::{runtime::Builder, select, sync::oneshot};

/// What the loop does when it is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Loop {
    /// Answers with a text of so many bytes, after having worked so long.
    Answers { bytes: usize, work: Duration },
    /// Answers, but observes nothing.
    SeesNothing,
    /// Never answers.
    Hangs,
}

/// A served endpoint; dropping it ends it.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    ended: Option<thread::JoinHandle<Ended>>,
}

/// What a server tells at its end.
pub(crate) struct Ended {
    /// What it counted.
    pub(crate) counted: HttpCounters,
    /// How often the loop was asked.
    pub(crate) asked: usize,
}

impl Server {
    pub(crate) fn start(max_connections: usize, answers: Loop) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = mpsc::channel();
        let ended = thread::spawn(move || {
            let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            tell.send(endpoint.address().unwrap()).unwrap();
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(run(endpoint, max_connections, answers, stopped))
        });
        Self {
            address: told.recv().unwrap(),
            stop: Some(stop),
            ended: Some(ended),
        }
    }

    pub(crate) fn end(mut self) -> Ended {
        drop(self.stop.take());
        self.ended.take().unwrap().join().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
    }
}

async fn run(endpoint: Endpoint, seats: usize, answers: Loop, mut stopped: oneshot::Receiver<()>) -> Ended {
    let (scraper, mut scrapes) = scrapes();
    let counts = HttpCounts::default();
    let mut served = std::pin::pin!(endpoint.serve(seats, scraper, counts.clone()));
    let mut asked = 0;
    let mut unanswered = Vec::new();
    loop {
        select! {
            _ = &mut stopped => break,
            ended = &mut served => panic!("the endpoint ended: {ended:?}"),
            request = scrapes.recv() => {
                asked += 1;
                match answers {
                    Loop::Answers { bytes, work } => {
                        thread::sleep(work);
                        request.answer("x".repeat(bytes), true);
                    }
                    Loop::SeesNothing => request.answer("ldrscope_up 0\n".to_owned(), false),
                    Loop::Hangs => unanswered.push(request),
                }
            }
        }
    }
    Ended {
        counted: counts.read(),
        asked,
    }
}
