//! How the endpoint asks the loop for the metrics.
//!
//! One question at a time, whoever asks meanwhile gets the same answer, and an answer is good for a moment.

use std::{rc::Rc, time::Duration};

use hyper::body::Bytes;
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    time::{Instant, timeout},
};

/// How long an answer is given again.
const FRESH: Duration = Duration::from_millis(200);
/// How long the loop may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Questions that wait; one that nobody waits for any more is not put to the loop.
const QUEUE: usize = 4;

/// Both ends of the queue: the endpoint's and the loop's.
#[must_use]
pub fn scrapes() -> (Scraper, Scrapes) {
    let (ask, asked) = mpsc::channel(QUEUE);
    let scraper = Scraper {
        ask,
        kept: Rc::new(Mutex::new(None)),
    };
    (scraper, Scrapes { asked })
}

/// Asks the loop.
#[derive(Clone, Debug)]
pub struct Scraper {
    ask: mpsc::Sender<ScrapeRequest>,
    kept: Rc<Mutex<Option<Kept>>>,
}

/// What the loop said, and when.
#[derive(Debug)]
struct Kept {
    at: Instant,
    answer: Answer,
}

/// What the loop said.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// The metrics.
    pub(super) text: Bytes,
    /// Whether it observes.
    pub(super) healthy: bool,
}

/// The loop did not answer in time, or has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ldrscope's loop does not answer")]
pub(super) struct Silence;

impl Scraper {
    /// The loop's answer, at most [`FRESH`] old.
    pub(super) async fn scrape(&self) -> Result<Answer, Silence> {
        timeout(PATIENCE, self.ask()).await.unwrap_or(Err(Silence))
    }

    async fn ask(&self) -> Result<Answer, Silence> {
        // Held while the loop works: those who ask meanwhile wait here, and find the answer.
        let mut kept = self.kept.lock().await;
        if let Some(kept) = kept.as_ref().filter(|kept| kept.at.elapsed() < FRESH) {
            return Ok(kept.answer.clone());
        }
        let (reply, answered) = oneshot::channel();
        self.ask
            .send(ScrapeRequest { reply })
            .await
            .map_err(|_| Silence)?;
        let answer = answered.await.map_err(|_| Silence)?;
        *kept = Some(Kept {
            at: Instant::now(),
            answer: answer.clone(),
        });
        Ok(answer)
    }
}

/// The loop's end: what it is asked.
#[derive(Debug)]
pub struct Scrapes {
    asked: mpsc::Receiver<ScrapeRequest>,
}

impl Scrapes {
    /// The next question that somebody waits for; never, where there is no endpoint. Dropping the future loses none.
    pub async fn recv(&mut self) -> ScrapeRequest {
        loop {
            match self.asked.recv().await {
                Some(request) if request.reply.is_closed() => {}
                Some(request) => return request,
                None => std::future::pending().await,
            }
        }
    }
}

/// Somebody wants the metrics.
#[derive(Debug)]
pub struct ScrapeRequest {
    reply: oneshot::Sender<Answer>,
}

impl ScrapeRequest {
    /// Answers with what [`render`](crate::daemon::metrics::render) made; `healthy` says whether ldrscope observes.
    pub fn answer(self, text: String, healthy: bool) {
        let text = Bytes::from(text);
        // Whoever asked may have gone.
        let _ = self.reply.send(Answer { text, healthy });
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use tokio::{join, runtime::Builder};

    use super::*;

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(future)
    }

    #[test]
    fn whoever_asks_meanwhile_and_shortly_after_gets_the_same_answer() {
        run(async {
            let (scraper, mut scrapes) = scrapes();
            let answer = async {
                scrapes.recv().await.answer("first".to_owned(), true);
                scrapes
            };
            let (one, two, mut scrapes) = join!(scraper.scrape(), scraper.scrape(), answer);
            let three = scraper.scrape().await;
            for answer in [one, two, three] {
                assert_eq!(answer.unwrap().text, "first");
            }
            tokio::time::sleep(FRESH).await;
            let (later, ()) = join!(scraper.scrape(), async {
                scrapes.recv().await.answer("second".to_owned(), false);
            });
            let later = later.unwrap();
            assert_eq!((&later.text[..], later.healthy), (&b"second"[..], false));
        });
    }

    #[test]
    fn a_loop_that_ended_or_threw_the_question_away_is_silent_at_once() {
        run(async {
            let (scraper, mut scrapes) = scrapes();
            let (answer, ()) = join!(scraper.scrape(), async { drop(scrapes.recv().await) });
            assert_eq!(answer.unwrap_err(), Silence);
            drop(scrapes);
            assert_eq!(scraper.scrape().await.unwrap_err(), Silence);
        });
    }

    #[test]
    fn a_question_that_nobody_waits_for_any_more_is_not_put() {
        run(async {
            let (scraper, mut scrapes) = scrapes();
            let hurried = timeout(Duration::from_millis(1), scraper.scrape()).await;
            assert!(hurried.is_err());
            let (answer, ()) = join!(scraper.scrape(), async {
                scrapes.recv().await.answer("x".to_owned(), true);
            });
            assert_eq!(answer.unwrap().text, "x");
        });
    }
}
