//! The door at which API nodes fetch what is held ready: HTTP, so that whatever stands between them may look after it.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};
use warren_common::model::OfferToken;
use warren_common::paced::{Pieces, paced};

use super::{Offers, PLACES, Unread};
use crate::files::FilesError;

/// Connections at one moment: those of offers, and some that do not know yet what they want.
const CONNECTIONS: usize = 2 * PLACES as usize;
/// How long one may take to say what it wants.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// How long the last of what was read may be on its way.
const LAST_BYTES: Duration = Duration::from_secs(60);
/// The pause when the system refuses a connection for the moment.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

type Body = UnsyncBoxBody<Bytes, FilesError>;

impl Offers {
    /// Lets API nodes fetch what is held, until `life` ends.
    pub async fn serve(self, listener: TcpListener, life: CancellationToken) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            // Never closed.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = life.cancelled() => return,
            };
            match accepted {
                Ok((stream, _peer)) => {
                    let (offers, life) = (self.clone(), life.clone());
                    tokio::spawn(async move {
                        life.run_until_cancelled(offers.converse(stream)).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "No connection can be accepted for an offer");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// One connection for one file, which keeps its place until the last byte has left.
    async fn converse(&self, stream: TcpStream) {
        // A socket that refuses is gone already, and serving it will say so.
        let _ = stream.set_nodelay(true);
        let place = OnceLock::new();
        let read = CancellationToken::new();
        let service = service_fn(async |request| {
            let held = self.take(&token(&request));
            let sending = held.map(|held| {
                // The only one: a connection serves one request.
                let _ = place.set(held.place);
                Sending {
                    bytes: held.bytes,
                    _read: read.clone().drop_guard(),
                }
            });
            Ok::<_, Infallible>(answer(sending))
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_LIMIT)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        let late = async {
            read.cancelled().await;
            tokio::time::sleep(LAST_BYTES).await;
        };
        tokio::select! {
            ended = connection => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "A connection for an offer ended early");
                }
            }
            () = late => {}
        }
    }
}

/// Bytes on their way.
struct Sending {
    bytes: Unread,
    /// Cancels when no more of them is read: all were, or nobody takes them.
    _read: DropGuard,
}

impl Pieces for Sending {
    type Error = FilesError;

    async fn next(&mut self) -> Result<Option<Bytes>, FilesError> {
        self.bytes.next().await
    }
}

/// What a request has to show.
fn token(request: &Request<Incoming>) -> OfferToken {
    let shown = request.headers().get(AUTHORIZATION);
    let shown = shown.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    OfferToken::claimed(shown.unwrap_or_default())
}

fn answer(sending: Option<Sending>) -> Response<Body> {
    let Some(sending) = sending else {
        let nothing = Empty::new().map_err(|never| match never {});
        let mut response = Response::new(nothing.boxed_unsync());
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    };
    let length = sending.bytes.length();
    let frames = paced(sending).map(|piece| piece.map(Frame::data));
    let mut response = Response::new(BodyExt::boxed_unsync(StreamBody::new(frames)));
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    response
}
