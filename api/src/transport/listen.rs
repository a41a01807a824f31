//! Accepting connections, and seeing them off.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warren_common::stop::Stop;

use super::connection::Server;
use super::tls::Tls;

/// How long answers may take to leave after everybody was told to go.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
/// The pause after the system gave no connection, as when no file descriptor is free.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// How often that is spoken of while it lasts.
const ACCEPT_WARNING: Duration = Duration::from_secs(60);

/// How a node listens.
pub struct Listening {
    /// TLS, when it is on.
    pub tls: Option<Arc<Tls>>,
    /// Connections at once; more wait in the system's backlog.
    pub max_connections: usize,
    /// How long a connection may take to send the headers of its next request; also how long it may be idle.
    pub header_read: Duration,
    /// How long a caller may take nothing of an answer.
    pub stalled: Duration,
}

/// Serves `router` until `stop`: the soft wish lets requests under way end, the hard one sends everybody away.
pub async fn serve(listening: Listening, listener: TcpListener, router: Router, stop: &Stop) {
    let places = Arc::new(Semaphore::new(listening.max_connections));
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    let server = Arc::new(Server::new(listening, router, stop.soft.clone()));
    let accept = async {
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return; // nobody closes it
            };
            let (stream, peer) = accept(&listener).await;
            let conversation = converse(Arc::clone(&server), stream, peer, place);
            connections.spawn(cut.clone().run_until_cancelled_owned(conversation));
        }
    };
    stop.soft.run_until_cancelled(accept).await;
    drop(listener);
    connections.close();
    let sent_away = async {
        stop.hard.cancelled().await;
        tokio::time::sleep(LAST_ANSWERS).await;
    };
    tokio::select! {
        () = connections.wait() => {}
        () = sent_away => {
            cut.cancel();
            connections.wait().await;
        }
    }
}

/// One connection, which keeps its place until it is closed.
async fn converse(
    server: Arc<Server>,
    stream: TcpStream,
    peer: SocketAddr,
    _place: OwnedSemaphorePermit,
) {
    server.converse(stream, peer).await;
}

/// The next connection. What the system refuses for the moment is tried again.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut next_warning = Instant::now();
    loop {
        let error = match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => error,
        };
        // These concern one caller, who is gone.
        if matches!(
            error.kind(),
            ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
        ) {
            continue;
        }
        if Instant::now() >= next_warning {
            next_warning = Instant::now() + ACCEPT_WARNING;
            tracing::warn!(
                cause = error.to_string(),
                "No connection can be accepted; too many open files mean that the limit of this process must be raised, or \
                 WARREN_MAX_CONNECTIONS lowered"
            );
        }
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}
