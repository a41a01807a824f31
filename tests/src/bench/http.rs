//! One kept connection to the API, as cheap as a client can be: it runs on the cores that it measures.

use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::BenchError;

/// How long one answer may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Where the API is and who asks.
#[derive(Debug, Clone)]
pub(super) struct Target {
    addr: SocketAddr,
    host: HeaderValue,
    bearer: HeaderValue,
}

impl Target {
    /// The user of a token at a node.
    pub(super) fn new(addr: SocketAddr, token: &str) -> Result<Self, BenchError> {
        let header = |text: String| HeaderValue::try_from(text).map_err(hyper::http::Error::from);
        Ok(Self {
            addr,
            host: header(addr.to_string())?,
            bearer: header(format!("Bearer {token}"))?,
        })
    }
}

/// A connection that is kept.
pub(super) struct Connection {
    target: Target,
    sender: SendRequest<String>,
}

impl Connection {
    /// Connects, without waiting for full packets.
    pub(super) async fn open(target: &Target) -> Result<Self, BenchError> {
        let stream = TcpStream::connect(target.addr)
            .await
            .map_err(BenchError::Connect)?;
        stream.set_nodelay(true).map_err(BenchError::Connect)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // It ends with the sender; an error of it is an error of the request under way.
        tokio::spawn(connection);
        Ok(Self {
            target: target.clone(),
            sender,
        })
    }

    /// Sends a request and returns the body of the expected answer.
    pub(super) async fn ask(
        &mut self,
        what: &'static str,
        method: Method,
        path: &str,
        body: &str,
        expected: StatusCode,
    ) -> Result<Vec<u8>, BenchError> {
        let (status, body) = self.send(what, method, path, body).await?;
        if status == expected {
            return Ok(body);
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        Err(BenchError::Refused { what, status, body })
    }

    /// Sends a request and returns whatever is answered.
    pub(super) async fn send(
        &mut self,
        what: &'static str,
        method: Method,
        path: &str,
        body: &str,
    ) -> Result<(StatusCode, Vec<u8>), BenchError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.target.host)
            .header(AUTHORIZATION, &self.target.bearer)
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_owned())?;
        let answer = async {
            self.sender.ready().await?;
            let response = self.sender.send_request(request).await?;
            let status = response.status();
            let body = whole(response.into_body()).await?;
            Ok::<_, BenchError>((status, body))
        };
        tokio::time::timeout(LIMIT, answer)
            .await
            .map_err(|_elapsed| BenchError::Late(what))?
    }
}

async fn whole(mut body: Incoming) -> Result<Vec<u8>, BenchError> {
    let mut bytes = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Some(data) = frame?.data_ref() {
            bytes.extend_from_slice(data);
        }
    }
    Ok(bytes)
}
