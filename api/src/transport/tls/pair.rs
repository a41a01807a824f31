//! A certificate and its key.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use x509_parser::parse_x509_certificate;

use crate::config::{TLS_CERT, TLS_KEY};

/// The longest file that is read, in bytes.
const LONGEST: u64 = 1024 * 1024;

/// A hash over certificate and key, which tells one pair from another.
pub(super) type Mark = [u8; 32];

/// Certificate and key cannot be used. Nothing of what the files hold is repeated.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is missing, or not for this program to read.
    #[error("the file {} of {setting} cannot be read", path.display())]
    Unreadable {
        /// The setting that names the file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file of the certificate holds something else.
    #[error("the file {} of {TLS_CERT} holds no certificate in PEM form", .0.display())]
    NoCertificate(PathBuf),
    /// The file of the key holds something else.
    #[error("the file {} of {TLS_KEY} holds no private key in PEM form that is not encrypted (PKCS#8, PKCS#1 or SEC1)", .0.display())]
    NoKey(PathBuf),
    /// The two do not belong together, or are of a kind that nobody supports.
    #[error("the key in {} of {TLS_KEY} and the certificate in {} of {TLS_CERT} cannot be used together", key.display(), certificate.display())]
    Unfit {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What TLS said.
        #[source]
        source: rustls::Error,
    },
}

/// Where a pair is.
pub(super) struct PairFiles {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

/// A certificate with its chain, and its key.
pub(super) struct Pair {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl PairFiles {
    /// Reads both files.
    pub(super) async fn read(&self) -> Result<Pair, TlsError> {
        let chain = bytes(TLS_CERT, &self.certificate).await?;
        let key = bytes(TLS_KEY, &self.key).await?;
        let chain = CertificateDer::pem_slice_iter(&chain).collect::<Result<Vec<_>, _>>();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or_else(|| TlsError::NoCertificate(self.certificate.clone()))?;
        // What the reader complains of is not shown: it repeats parts of the file.
        let key = PrivateKeyDer::from_pem_slice(&key);
        let key = key.map_err(|_error| TlsError::NoKey(self.key.clone()))?;
        Ok(Pair { chain, key })
    }

    /// A server that shows the certificate of this pair, if its key fits.
    pub(super) fn server(&self, pair: &Pair) -> Result<Arc<ServerConfig>, TlsError> {
        let unfit = |source| TlsError::Unfit {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            source,
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unfit)?
            .with_no_client_auth()
            .with_single_cert(pair.chain.clone(), pair.key.clone_key())
            .map_err(unfit)?;
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(server))
    }
}

impl Pair {
    pub(super) fn mark(&self) -> Mark {
        let mut hash = Sha256::new();
        for part in self.chain.iter().map(AsRef::as_ref) {
            hash.update(part);
        }
        hash.update(self.key.secret_der());
        hash.finalize().into()
    }

    /// When the certificate expires; none when that cannot be read.
    pub(super) fn end_of_validity(&self) -> Option<DateTime<Utc>> {
        let (_rest, certificate) = parse_x509_certificate(self.chain.first()?).ok()?;
        DateTime::from_timestamp(certificate.validity().not_after.timestamp(), 0)
    }
}

async fn bytes(setting: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let read = async {
        let mut bytes = Vec::new();
        let file = tokio::fs::File::open(path).await?;
        file.take(LONGEST).read_to_end(&mut bytes).await?;
        Ok(bytes)
    };
    read.await.map_err(|source| TlsError::Unreadable {
        setting,
        path: path.to_owned(),
        source,
    })
}
