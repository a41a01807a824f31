//! Settings of the transport: whom the API listens to, and how.

use clap::Args;

use crate::transport::client::TrustedProxies;

/// What lies between the network and the router.
#[derive(Debug, Clone, Args)]
pub struct TransportConfig {
    /// Addresses and networks of proxies whose X-Forwarded-For and X-Forwarded-Proto count, separated by commas
    #[arg(
        id = "trusted_proxies",
        long = "trusted-proxies",
        env = "WARREN_TRUSTED_PROXIES",
        default_value = ""
    )]
    pub trusted_proxies: TrustedProxies,
}
