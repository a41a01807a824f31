//! One connection, from its handshake to its end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::listen::Listening;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The most that request line and headers may take, in bytes; 431 beyond. Of headers there may be a hundred, which is hyper's own limit:
/// one that is set would cost an allocation for each request.
const HEADER_BYTES: usize = 64 * 1024;

/// What all connections share.
pub(super) struct Server {
    listening: Listening,
    router: Router,
    http: http1::Builder,
    leaving: CancellationToken,
}

impl Server {
    /// Serves `router`; once `leaving` is cancelled, each connection ends after the request that it is at.
    pub(super) fn new(listening: Listening, router: Router, leaving: CancellationToken) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(listening.header_read)
            .max_header_size(HEADER_BYTES);
        Self {
            listening,
            router,
            http,
            leaving,
        }
    }

    /// Speaks with a peer until one of the two closes the connection.
    pub(super) async fn converse(&self, stream: TcpStream, peer: SocketAddr) {
        prepare(&stream, self.listening.stalled);
        let Some(tls) = &self.listening.tls else {
            return self.speak(stream, peer).await;
        };
        let handshake = tokio::time::timeout(HANDSHAKE, tls.acceptor().accept(stream));
        match self.leaving.run_until_cancelled(handshake).await {
            Some(Ok(Ok(stream))) => self.speak(stream, peer).await,
            Some(Ok(Err(error))) => {
                tracing::debug!(cause = error.to_string(), "A TLS handshake failed");
            }
            // Too slow, or not there yet when the node stops.
            Some(Err(_)) | None => {}
        }
    }

    /// Answers requests, one after the other.
    async fn speak<S>(&self, stream: S, peer: SocketAddr)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let service = service_fn(|request| answer(self.router.clone(), request, peer));
        let mut conversation = pin!(self.http.serve_connection(TokioIo::new(stream), service));
        let end = tokio::select! {
            end = conversation.as_mut() => end,
            () = self.leaving.cancelled() => {
                conversation.as_mut().graceful_shutdown();
                conversation.await
            }
        };
        if let Err(error) = end {
            // Callers that leave, take too long or speak something else: nothing for an operator to do.
            tracing::debug!(cause = error.to_string(), "A connection broke");
        }
    }
}

async fn answer(
    router: Router,
    request: Request<Incoming>,
    peer: SocketAddr,
) -> Result<Response, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    router.oneshot(request).await
}

fn prepare(stream: &TcpStream, stalled: Duration) {
    // Without it an answer may wait for an acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    // Nobody looks at a connection that has no room: the system closes it when its reader takes nothing for so long.
    let stalled = u32::try_from(stalled.as_millis()).unwrap_or(u32::MAX);
    let _ = rustix::net::sockopt::set_tcp_user_timeout(stream, stalled);
}
