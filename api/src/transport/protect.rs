//! Headers by which browsers do nothing with answers that a page was not meant to do.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use super::client::TrustedProxies;

/// The header in which a proxy writes how it was asked itself.
const FORWARDED_PROTO: &str = "x-forwarded-proto";

/// What every answer has. An answer is data: no page is made of it, framed or told where it was linked from. The resource policy
/// concerns images, scripts and the like; what CORS lets a page read does not ask for it.
const ALWAYS: [(HeaderName, HeaderValue); 5] = [
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

/// A year of TLS only.
const TLS_ONLY: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// How requests come to this node.
#[derive(Clone)]
pub(super) struct Channel {
    pub(super) is_tls: bool,
    pub(super) proxies: TrustedProxies,
}

impl Channel {
    /// True when the client asked over TLS, as far as this node can know.
    fn is_secure(&self, request: &Request) -> bool {
        if self.is_tls {
            return true;
        }
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let is_trusted = peer.is_some_and(|peer| self.proxies.contains(peer.0.ip()));
        let proto = request.headers().get(FORWARDED_PROTO);
        is_trusted && proto.is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"))
    }
}

/// Writes them.
pub(super) async fn protect(
    State(channel): State<Channel>,
    request: Request,
    next: Next,
) -> Response {
    let is_secure = channel.is_secure(&request);
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in ALWAYS {
        headers.insert(name, value);
    }
    if is_secure {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, TLS_ONLY);
    }
    response
}
