//! What lies between the network and the router.
//!
//! [`serve`] accepts connections, within bounds, and speaks HTTP on them, over [`tls`] when that is on. [`around`] wraps the router:
//! [`client`] says whom a request comes from, [`cors`] and `protect` write headers for browsers. [`requests`] bounds what is under way.

pub mod client;
mod connection;
pub mod cors;
mod listen;
mod probe;
mod protect;
pub mod requests;
pub mod tls;

use axum::Router;
use axum::middleware::from_fn_with_state;

pub use listen::{Listening, serve};
pub use probe::ask_ready;

use crate::config::ApiConfig;
use protect::Channel;

/// The router inside everything that concerns addresses and browsers.
///
/// It comes around what observes requests, so that also the answer to a handler that panicked can be read by a page of another origin.
pub fn around(router: Router, config: &ApiConfig) -> Router {
    let proxies = config.transport.trusted_proxies.clone();
    let channel = Channel {
        is_tls: config.listen.tls.is_on(),
        proxies: proxies.clone(),
    };
    let router = match config.transport.cors_origins.layer() {
        Some(cors) => router.layer(cors),
        None => router,
    };
    router
        .layer(from_fn_with_state(channel, protect::protect))
        .layer(from_fn_with_state(proxies, client::identify))
}
