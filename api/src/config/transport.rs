//! Settings of the transport: whom the API listens to, and how.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};

use super::{BadSetting, seconds};
use crate::transport::client::TrustedProxies;
use crate::transport::cors::CorsOrigins;

/// The setting of the certificate.
pub(crate) const TLS_CERT: &str = "WARREN_TLS_CERT";
/// The setting of its key.
pub(crate) const TLS_KEY: &str = "WARREN_TLS_KEY";

/// TLS: off when both are empty.
#[derive(Debug, Clone, Args)]
pub struct TlsConfig {
    /// File with the certificate and its chain in PEM form, read again when it changes; plain HTTP when empty
    #[arg(
        id = "tls_cert",
        long = "tls-cert",
        env = TLS_CERT,
        default_value = "",
        value_parser = path()
    )]
    pub certificate: PathBuf,
    /// File with the private key of the certificate in PEM form
    #[arg(
        id = "tls_key",
        long = "tls-key",
        env = TLS_KEY,
        default_value = "",
        value_parser = path()
    )]
    pub key: PathBuf,
}

impl TlsConfig {
    /// True when the API speaks TLS itself.
    pub fn is_on(&self) -> bool {
        self.files().is_some()
    }

    /// The files of certificate and key, when TLS is on.
    pub fn files(&self) -> Option<(&Path, &Path)> {
        let are_set = is_set(&self.certificate) && is_set(&self.key);
        are_set.then_some((&self.certificate, &self.key))
    }

    /// Refuses one without the other.
    pub(super) fn validate(&self) -> Result<(), BadSetting> {
        let missing = match (is_set(&self.certificate), is_set(&self.key)) {
            (true, false) => (TLS_KEY, TLS_CERT),
            (false, true) => (TLS_CERT, TLS_KEY),
            _ => return Ok(()),
        };
        let (missing, given) = missing;
        Err(BadSetting::new(
            missing,
            format!("must name a file, since {given} does"),
        ))
    }
}

fn is_set(path: &Path) -> bool {
    !path.as_os_str().is_empty()
}

/// A path that may be empty, as variables are that somebody passes on unset.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

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
    /// Origins whose pages may use the API, as browsers write them, separated by commas; * for all
    #[arg(
        id = "cors_origins",
        long = "cors-origins",
        env = "WARREN_CORS_ORIGINS",
        default_value = ""
    )]
    pub cors_origins: CorsOrigins,
    /// Connections that this node has at once; more wait until one is closed
    #[arg(
        id = "max_connections",
        long = "max-connections",
        env = "WARREN_MAX_CONNECTIONS",
        default_value_t = 10_000
    )]
    pub max_connections: u32,
    /// Requests that are under way at this node at once; more are refused
    #[arg(
        id = "max_requests",
        long = "max-requests",
        env = "WARREN_MAX_REQUESTS",
        default_value_t = 5_000
    )]
    pub max_requests: u32,
    /// How long a connection may take to send the headers of its next request, and be idle before, in seconds
    #[arg(
        id = "header_read_seconds",
        long = "header-read-seconds",
        env = "WARREN_HEADER_READ_SECONDS",
        default_value = "30",
        value_parser = seconds
    )]
    pub header_read: Duration,
}

impl TransportConfig {
    /// Refuses what clap cannot judge.
    pub(super) fn validate(&self) -> Result<(), BadSetting> {
        for (variable, is_wrong) in [
            ("WARREN_MAX_CONNECTIONS", self.max_connections == 0),
            ("WARREN_MAX_REQUESTS", self.max_requests == 0),
            ("WARREN_HEADER_READ_SECONDS", self.header_read.is_zero()),
        ] {
            if is_wrong {
                return Err(BadSetting::new(variable, "must not be 0"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Command, FromArgMatches};

    #[test]
    fn tls_is_off_unless_files_are_named() {
        for (arguments, is_on) in [
            (["--tls-cert=", "--tls-key="], false),
            (["--tls-cert=c", "--tls-key=k"], true),
        ] {
            let command = TlsConfig::augment_args(Command::new("warren-api").no_binary_name(true));
            let config = TlsConfig::from_arg_matches(&command.get_matches_from(arguments));
            assert_eq!(config.unwrap().is_on(), is_on, "{arguments:?}");
        }
    }
}
