//! Whose certificates are trusted. There is no way around checking them.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::config::BadSetting;

const SETTING: &str = "WARREN_LDAP_CA";

/// Settings of encrypted connections that trust the authorities in this file, or else those of the system.
pub(super) fn client_config(ca: Option<&Path>) -> Result<Arc<ClientConfig>, BadSetting> {
    let roots = match ca {
        Some(file) => of_file(file)?,
        None => of_system()?,
    };
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| BadSetting::new(SETTING, format!("cannot be used: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn of_file(file: &Path) -> Result<RootCertStore, BadSetting> {
    let wrong = |problem: String| {
        BadSetting::new(
            SETTING,
            format!("names {}, which {problem}", file.display()),
        )
    };
    let unreadable = |error| wrong(format!("cannot be read as PEM: {error}"));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(unreadable)? {
        let added = roots.add(certificate.map_err(unreadable)?);
        added.map_err(|error| wrong(format!("holds a certificate of no use: {error}")))?;
    }
    if roots.is_empty() {
        return Err(wrong("holds no certificate".to_owned()));
    }
    Ok(roots)
}

fn of_system() -> Result<RootCertStore, BadSetting> {
    let mut roots = RootCertStore::empty();
    // Systems have some that nobody can read; what is left is what is trusted.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(BadSetting::new(
            SETTING,
            "must be set: the system trusts no certificate authorities (package ca-certificates)",
        ));
    }
    Ok(roots)
}
