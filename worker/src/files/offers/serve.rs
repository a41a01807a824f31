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
use tokio_util::sync::CancellationToken;
use warren_common::model::OfferToken;
use warren_common::paced::paced;

use super::{Offers, PLACES, Unread};
use crate::files::FilesError;

/// Connections at one moment: those of offers, and some that do not know yet what they want.
const CONNECTIONS: usize = 2 * PLACES as usize;
/// How long one may take to say what it wants.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// How long a node may take nothing. It has a limit of its own for its caller, which is shorter, and takes a lot at a time.
const STALL_LIMIT: Duration = Duration::from_secs(300);
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
                    tracing::warn!(%error, "No connection can be accepted for an offer");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// One connection for one file, which keeps its place until the last byte has left.
    async fn converse(&self, stream: TcpStream) {
        // A socket that refuses is gone already, and serving it will say so.
        let _ = stream.set_nodelay(true);
        // Nobody looks at a connection that has no room: the system closes it.
        let stalled = u32::try_from(STALL_LIMIT.as_millis()).unwrap_or(u32::MAX);
        let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, stalled);
        let place = OnceLock::new();
        let service = service_fn(async |request| {
            let held = self.take(&token(&request));
            let bytes = held.map(|held| {
                // The only one: a connection serves one request.
                let _ = place.set(held.place);
                held.bytes
            });
            Ok::<_, Infallible>(answer(bytes))
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_LIMIT)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = connection.await {
            tracing::debug!(%error, "A connection for an offer ended early");
        }
    }
}

/// What a request has to show.
fn token(request: &Request<Incoming>) -> OfferToken {
    let shown = request.headers().get(AUTHORIZATION);
    let shown = shown.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    OfferToken::claimed(shown.unwrap_or_default())
}

fn answer(bytes: Option<Unread>) -> Response<Body> {
    let Some(bytes) = bytes else {
        let nothing = Empty::new().map_err(|never| match never {});
        let mut response = Response::new(nothing.boxed_unsync());
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    };
    let length = bytes.length();
    let frames = paced(bytes, STALL_LIMIT).map(|piece| piece.map(Frame::data));
    let mut response = Response::new(BodyExt::boxed_unsync(StreamBody::new(frames)));
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    response
}
