//! What is found at which path.

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Bytes},
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
};

use super::{HttpCounts, scrape::Scraper};
use crate::daemon::metrics;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const EXPOSITION: HeaderValue = HeaderValue::from_static(metrics::CONTENT_TYPE);
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD");

const FRONT: &str = "<!DOCTYPE html>\n<html lang=\"en\"><head><title>ldrscope</title></head><body>\n\
    <h1>ldrscope</h1>\n<p>Which interrupts cannot arrive in this host's KVM guests.</p>\n\
    <ul><li><a href=\"/metrics\">Metrics</a></li><li><a href=\"/healthz\">Health</a></li></ul>\n\
    </body></html>\n";

/// An answer.
pub(super) type Page = Response<Full<Bytes>>;

/// Answers requests, and counts them.
#[derive(Clone, Debug)]
pub(super) struct Pages {
    scraper: Scraper,
    counts: HttpCounts,
}

impl Pages {
    pub(super) const fn new(scraper: Scraper, counts: HttpCounts) -> Self {
        Self { scraper, counts }
    }

    /// What is sent to whoever asks for `request`; of a HEAD, the server sends the head alone.
    pub(super) async fn answer<B: Body>(&self, request: &Request<B>) -> Page {
        let page = self.page(request.method(), request.uri().path()).await;
        self.counts.answered(page.status().as_u16());
        page
    }

    async fn page(&self, method: &Method, path: &str) -> Page {
        let known = matches!(path, "/" | "/metrics" | "/healthz");
        match path {
            _ if !known => page(
                StatusCode::NOT_FOUND,
                TEXT,
                "There is only /metrics and /healthz.\n",
            ),
            _ if method != Method::GET && method != Method::HEAD => {
                let mut page = page(
                    StatusCode::METHOD_NOT_ALLOWED,
                    TEXT,
                    "This can only be read: GET or HEAD.\n",
                );
                page.headers_mut().insert(ALLOW, METHODS);
                page
            }
            "/metrics" => self.metrics().await,
            "/healthz" => self.health().await,
            _ => page(StatusCode::OK, HTML, FRONT),
        }
    }

    async fn metrics(&self) -> Page {
        match self.scraper.scrape().await {
            Ok(answer) => page(StatusCode::OK, EXPOSITION, answer.text),
            Err(silence) => unavailable(format!("{silence}; ask again.\n")),
        }
    }

    async fn health(&self) -> Page {
        match self.scraper.scrape().await {
            Ok(answer) if answer.healthy => page(StatusCode::OK, TEXT, "ldrscope watches.\n"),
            Ok(_) => unavailable("ldrscope sees nothing: its hooks are not attached. Its log says why.\n"),
            Err(silence) => unavailable(format!("{silence}.\n")),
        }
    }
}

fn unavailable(words: impl Into<Bytes>) -> Page {
    page(StatusCode::SERVICE_UNAVAILABLE, TEXT, words)
}

fn page(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Page {
    let mut page = Response::new(Full::new(body.into()));
    *page.status_mut() = status;
    page.headers_mut().insert(CONTENT_TYPE, content_type);
    page
}
