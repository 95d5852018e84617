//! One connection, from its acceptance to its end.

use std::{convert::Infallible, rc::Rc};

use hyper::{Request, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, select};

use super::{
    HttpCounts,
    page::Pages,
    progress::{Progress, Watched},
};

/// The most bytes of a request's header.
const LARGEST_HEADER: usize = 16 << 10;

/// Answers one request after the other, until the client goes or its time is over.
pub(super) async fn attend(stream: TcpStream, pages: Pages, counts: HttpCounts, progress: Rc<Progress>) {
    let service = service_fn(|request: Request<Incoming>| {
        progress.requested();
        let (pages, progress) = (&pages, &progress);
        async move {
            let page = pages.answer(&request).await;
            progress.given();
            Ok::<_, Infallible>(page)
        }
    });
    let connection = http1::Builder::new()
        .max_header_size(LARGEST_HEADER)
        .max_buf_size(LARGEST_HEADER)
        // The deadlines are those of `progress`.
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(Watched::new(stream, progress.clone())), service);
    select! {
        ended = connection => {
            if let Err(error) = ended {
                note(&error, &counts);
            }
        }
        () = progress.overdue() => log::debug!("a client of the metrics endpoint took too long"),
    }
}

/// What the server answers by itself is counted here; how else a connection ends is the client's affair.
fn note(error: &hyper::Error, counts: &HttpCounts) {
    if error.is_parse_too_large() {
        counts.answered(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.as_u16());
    } else if error.is_parse() {
        counts.answered(StatusCode::BAD_REQUEST.as_u16());
    }
    log::debug!("a connection to the metrics endpoint ended: {error}");
}
