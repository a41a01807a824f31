//! What answers in the place of a provider.

use std::convert::Infallible;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};

/// An answer.
#[derive(Debug, Clone)]
pub enum Reply {
    /// This status and body.
    Now(u16, String),
    /// A redirect to this place.
    Elsewhere(String),
    /// None, and the connection stays open.
    Never,
}

/// A server on a free port of loopback that answers every request as it was told to.
pub struct Impostor {
    issuer: String,
    task: AbortHandle,
}

impl Impostor {
    /// Starts one; `answer` is given its own address and the path that is asked for.
    ///
    /// # Panics
    ///
    /// When no port is free.
    pub async fn start(answer: impl Fn(&str, &str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let addr = listener
            .local_addr()
            .expect("a bound socket has an address");
        let issuer = format!("http://{addr}");
        let here = issuer.clone();
        let answer = Arc::new(move |path: &str| answer(&here, path));
        let task = tokio::spawn(serve(listener, answer)).abort_handle();
        Self { issuer, task }
    }

    /// Where it is, and what it should call itself.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Accepts for ever. The connections end with this task.
async fn serve(listener: TcpListener, answer: Arc<impl Fn(&str) -> Reply + Send + Sync + 'static>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _from)) = listener.accept().await {
        let answer = Arc::clone(&answer);
        let service = service_fn(move |request: Request<Incoming>| {
            let reply = answer(request.uri().path());
            async move { Ok::<_, Infallible>(response(reply).await) }
        });
        connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn response(reply: Reply) -> Response<String> {
    let builder = Response::builder();
    let response = match reply {
        Reply::Now(status, body) => builder.status(status).body(body),
        Reply::Elsewhere(place) => builder
            .status(302)
            .header("Location", place)
            .body(String::new()),
        Reply::Never => std::future::pending().await,
    };
    response.expect("a response can be made")
}
