//! TLS: certificate and key out of two files, which are read again when they change.

mod pair;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use warren_common::telemetry;

pub use pair::TlsError;
use pair::{Mark, Pair, PairFiles};

use crate::config::TlsConfig;

/// Time between two looks at the files.
const LOOK: Duration = Duration::from_secs(2);

/// The certificate that is in use, and where the next one will be.
pub struct Tls {
    files: PairFiles,
    loaded: Mark,
    current: watch::Sender<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads certificate and key; none when TLS is off.
    pub async fn load(config: &TlsConfig) -> Result<Option<Arc<Self>>, TlsError> {
        let Some((certificate, key)) = config.files() else {
            return Ok(None);
        };
        let files = PairFiles {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        };
        let pair = files.read().await?;
        let server = files.server(&pair)?;
        tell("TLS is on", &pair);
        Ok(Some(Arc::new(Self {
            files,
            loaded: pair.mark(),
            current: watch::Sender::new(server),
        })))
    }

    /// Greets a connection with the certificate of this moment.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.borrow()))
    }

    /// Looks for another certificate, for ever. One that cannot be used leaves the one before in use.
    ///
    /// What the files hold is compared, not when they were written: mounted secrets change by a link that is replaced.
    pub async fn follow(self: Arc<Self>) {
        let mut known = Some(self.loaded);
        let mut doubtful = None;
        loop {
            tokio::time::sleep(LOOK).await;
            let read = self.files.read().await;
            let mark = read.as_ref().ok().map(Pair::mark);
            if mark == known {
                doubtful = None;
                continue;
            }
            match read.and_then(|pair| Ok((self.files.server(&pair)?, pair))) {
                Ok((server, pair)) => {
                    self.current.send_replace(server);
                    known = mark;
                    tell("Another TLS certificate is in use", &pair);
                }
                // Who renews writes one file after the other: what does not fit now may do so at the next look.
                Err(_) if doubtful != Some(mark) => doubtful = Some(mark),
                Err(error) => {
                    known = mark;
                    let cause = telemetry::chain(&error);
                    tracing::warn!(
                        cause,
                        "The new TLS certificate cannot be used; the one before stays in use"
                    );
                }
            }
        }
    }
}

fn tell(what: &str, pair: &Pair) {
    match pair.end_of_validity() {
        Some(end) if end < chrono::Utc::now() => {
            tracing::warn!("{what}, but its certificate expired on {end}");
        }
        Some(end) => tracing::info!("{what}; its certificate is valid until {end}"),
        None => tracing::info!("{what}"),
    }
}
