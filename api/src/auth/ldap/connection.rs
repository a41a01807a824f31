//! A connection to one server of a directory.

use std::sync::Arc;
use std::time::Duration;

use ldap3::{
    Ldap, LdapConnAsync, LdapConnSettings, LdapError, LdapResult, Scope, SearchEntry, SearchOptions,
};
use tokio_rustls::rustls::ClientConfig;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::error::{Cause, DirectoryError, Refusal, cause};
use crate::config::LdapConfig;

const BUSY: u32 = 51;
const UNAVAILABLE: u32 = 52;
const SIZE_LIMIT_EXCEEDED: u32 = 4;
/// Answers of servers to a password that is not right, or to the right one of an account that may not sign in: constraint violation,
/// no such object, inappropriate authentication, invalid credentials, unwilling to perform.
const NO: [u32; 5] = [19, 32, 48, 49, 53];

/// An open connection. Dropping it closes it.
pub(super) struct Connection {
    ldap: Ldap,
    _driver: AbortOnDropHandle<()>,
}

/// Where a search looks and what it finds, with the settings that say so.
pub(super) struct Search<'a> {
    pub(super) base: &'a str,
    pub(super) base_setting: &'static str,
    pub(super) filter: &'a str,
    pub(super) filter_setting: &'static str,
    pub(super) attributes: &'a [&'a str],
    /// How many entries are taken at most.
    pub(super) limit: usize,
}

/// What a search found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) entries: Vec<SearchEntry>,
    /// There are more than were taken.
    pub(super) more: bool,
}

impl Connection {
    /// Connects to a server, encrypted if settings for that are given and with its certificate checked then. `limit`: how long that may take.
    pub(super) async fn open(
        server: &Url,
        tls: Option<&Arc<ClientConfig>>,
        limit: Duration,
    ) -> Result<Self, Cause> {
        let mut settings = LdapConnSettings::new().set_conn_timeout(limit);
        if let Some(tls) = tls {
            settings = settings.set_config(Arc::clone(tls)).set_starttls(true);
        }
        let opened = LdapConnAsync::from_url_with_settings(settings, server).await;
        let (driver, ldap) = opened.map_err(cause)?;
        let driver = tokio::spawn(async move {
            // Whoever asks something learns that there is no answer.
            let _ = driver.drive().await;
        });
        Ok(Self {
            ldap,
            _driver: AbortOnDropHandle::new(driver),
        })
    }

    /// Speaks for the account that searches from now on, or for nobody.
    pub(super) async fn bind_service(&mut self, config: &LdapConfig) -> Result<(), DirectoryError> {
        let dn = config.bind_dn.as_deref().unwrap_or_default();
        let password = config.bind_password.as_ref();
        let password = password.map_or("", |password| password.reveal());
        let result = self.bind(dn, password).await?;
        if result.rc == 0 {
            Ok(())
        } else {
            Err(DirectoryError::Service(result.into()))
        }
    }

    /// Whether this is the password of that entry. An empty one is of no entry: servers take a bind without a password for one of nobody,
    /// and grant it.
    pub(super) async fn is_password_of(
        &mut self,
        dn: &str,
        password: &str,
    ) -> Result<bool, DirectoryError> {
        if dn.is_empty() || password.is_empty() {
            return Ok(false);
        }
        let result = self.bind(dn, password).await?;
        if NO.contains(&result.rc) {
            tracing::debug!(code = result.rc, "The directory refuses a password");
            return Ok(false);
        }
        if result.rc == 0 {
            Ok(true)
        } else {
            Err(DirectoryError::Bind(result.into()))
        }
    }

    async fn bind(&mut self, dn: &str, password: &str) -> Result<LdapResult, DirectoryError> {
        let result = self.ldap.simple_bind(dn, password).await.map_err(lost)?;
        there(result)
    }

    /// Entries below a base. References to other servers are not followed.
    pub(super) async fn search(&mut self, search: &Search<'_>) -> Result<Found, DirectoryError> {
        let asked = i32::try_from(search.limit + 1).unwrap_or(i32::MAX);
        let options = SearchOptions::new().sizelimit(asked);
        let ldap = self.ldap.with_search_options(options);
        let attributes = search.attributes.to_vec();
        let stream = ldap.streaming_search(search.base, Scope::Subtree, search.filter, attributes);
        let mut stream = stream.await.map_err(lost)?;
        let mut found = Found::default();
        // To the end, whatever comes: the connection is used further.
        while let Some(entry) = stream.next().await.map_err(lost)? {
            if entry.is_ref() || entry.is_intermediate() {
                continue;
            }
            if found.entries.len() < search.limit {
                found.entries.push(SearchEntry::construct(entry));
            } else {
                found.more = true;
            }
        }
        let result = there(stream.finish().await)?;
        match result.rc {
            0 => Ok(found),
            SIZE_LIMIT_EXCEEDED => Ok(Found {
                more: true,
                ..found
            }),
            _ => Err(DirectoryError::Search {
                base_setting: search.base_setting,
                filter_setting: search.filter_setting,
                source: result.into(),
            }),
        }
    }
}

/// An answer, unless it is that the server cannot answer now.
fn there(result: LdapResult) -> Result<LdapResult, DirectoryError> {
    if [BUSY, UNAVAILABLE].contains(&result.rc) {
        return Err(DirectoryError::Lost(Refusal::from(result).into()));
    }
    Ok(result)
}

fn lost(error: LdapError) -> DirectoryError {
    DirectoryError::Lost(cause(error))
}
