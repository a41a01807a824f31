//! Signing in against a directory: LDAP, of which Active Directory is one.
//!
//! One connection for each sign-in: an account that may search finds the entry by what was typed, the entry's own password is tried, and
//! the account looks for the groups.

mod connection;
mod error;
mod groups;
pub(crate) mod template;
mod tls;

use std::sync::Arc;

use ldap3::SearchEntry;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;
use tokio_rustls::rustls::ClientConfig;
use url::Url;
use warren_common::telemetry;

use self::connection::{Connection, Search};
pub use self::error::DirectoryError;
use super::identity::Identity;
use crate::config::{BadSetting, LdapConfig};

/// How many ask at once; the others wait.
const CONNECTIONS: usize = 16;
/// How many groups of a user are looked at.
const MAX_GROUPS: usize = 1000;
/// How long a subject may be, in bytes.
const MAX_SUBJECT: usize = 256;

/// A directory, with the settings of how it is asked.
pub struct Directory {
    config: LdapConfig,
    tls: Option<Arc<ClientConfig>>,
    places: Semaphore,
    /// Entry that is not there.
    nobody: String,
}

/// Leave to ask a directory, until it is dropped.
pub struct Place<'a> {
    _permit: SemaphorePermit<'a>,
}

impl Directory {
    /// A directory that has not been asked anything yet. Fails when certificates are to be checked and there is nothing to check them by.
    pub fn new(config: &LdapConfig) -> Result<Self, BadSetting> {
        let encrypts = config
            .servers
            .0
            .iter()
            .any(|server| config.encrypts(server));
        let tls = encrypts.then(|| tls::client_config(config.ca.as_deref()));
        Ok(Self {
            tls: tls.transpose()?,
            places: Semaphore::new(CONNECTIONS),
            nobody: format!("cn=nobody of that name,{}", config.base),
            config: config.clone(),
        })
    }

    /// Waits for a place among those who ask.
    pub async fn place(&self) -> Result<Place<'_>, DirectoryError> {
        match timeout(self.config.timeout, self.places.acquire()).await {
            Ok(Ok(place)) => Ok(Place { _permit: place }),
            _ => Err(DirectoryError::Busy),
        }
    }

    /// Who has this name and password. None when there is no such user, or the password is wrong, or it is not plain who it is.
    pub async fn sign_in(
        &self,
        _place: &Place<'_>,
        user: &str,
        password: &str,
    ) -> Result<Option<Identity>, DirectoryError> {
        let filter = self.config.filter.fill(&[("{user}", user)]);
        let mut connection = self.connect().await?;
        let checked = async {
            let entry = self.only_entry(&mut connection, &filter).await?;
            // A password is tried in any case, so that an unknown name costs the same trips.
            let dn = entry.as_ref().map_or(&self.nobody, |entry| &entry.dn);
            let is_right = connection.is_password_of(dn, password).await?;
            let Some(entry) = entry.filter(|_entry| is_right) else {
                return Ok(None);
            };
            connection.bind_service(&self.config).await?;
            self.identity(&mut connection, &entry).await
        };
        self.in_time(checked).await
    }

    /// What is known now of somebody who signed in before. None when it is gone, or may not sign in any more.
    pub async fn look_up(&self, subject: &str) -> Result<Option<Identity>, DirectoryError> {
        let _place = self.place().await?;
        let attribute = &self.config.subject_attribute;
        let filter = self.config.filter.with_attribute(attribute, subject);
        let mut connection = self.connect().await?;
        let found = async {
            match self.only_entry(&mut connection, &filter).await? {
                Some(entry) => self.identity(&mut connection, &entry).await,
                None => Ok(None),
            }
        };
        // Directories think little of case; whoever is written otherwise by now owns nothing here.
        let identity = self.in_time(found).await?;
        Ok(identity.filter(|identity| identity.subject == subject))
    }

    async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, DirectoryError>>,
    ) -> Result<T, DirectoryError> {
        let answer = timeout(self.config.timeout, answer).await;
        answer.unwrap_or(Err(DirectoryError::TimedOut))
    }

    /// The first server that can be used.
    async fn connect(&self) -> Result<Connection, DirectoryError> {
        let mut servers = self.config.servers.0.iter().peekable();
        while let Some(server) = servers.next() {
            match self.connect_to(server).await {
                Err(error) if error.is_away() && servers.peek().is_some() => {
                    let cause = telemetry::chain(&error);
                    tracing::warn!(
                        cause,
                        "A directory server cannot be used; the next is tried"
                    );
                }
                settled => return settled,
            }
        }
        Err(DirectoryError::Away {
            server: "none".to_owned(),
            source: "WARREN_LDAP_URL names no server".into(),
        })
    }

    async fn connect_to(&self, server: &Url) -> Result<Connection, DirectoryError> {
        let away = |source| DirectoryError::Away {
            server: server.to_string(),
            source,
        };
        let tls = self.tls.as_ref();
        let tls = tls.filter(|_tls| self.config.encrypts(server));
        let limit = self.config.timeout;
        let connected = timeout(limit, async {
            let connection = Connection::open(server, tls, limit).await;
            let mut connection = connection.map_err(away)?;
            connection.bind_service(&self.config).await?;
            Ok(connection)
        });
        match connected.await {
            Ok(Err(DirectoryError::Lost(source))) => Err(away(source)),
            Ok(settled) => settled,
            Err(_elapsed) => Err(away(Box::new(DirectoryError::TimedOut))),
        }
    }

    /// The entry that a filter finds, if it is the only one.
    async fn only_entry(
        &self,
        connection: &mut Connection,
        filter: &str,
    ) -> Result<Option<SearchEntry>, DirectoryError> {
        let config = &self.config;
        let search = Search {
            base: &config.base,
            base_setting: "WARREN_LDAP_BASE",
            filter,
            filter_setting: "WARREN_LDAP_FILTER",
            attributes: &[&config.subject_attribute, &config.member_of_attribute],
            limit: 1,
        };
        let mut found = connection.search(&search).await?;
        if found.more {
            tracing::warn!(
                "A sign-in was refused: WARREN_LDAP_FILTER finds several entries for one name"
            );
            return Ok(None);
        }
        Ok(found.entries.pop())
    }

    /// Subject and groups of an entry.
    async fn identity(
        &self,
        connection: &mut Connection,
        entry: &SearchEntry,
    ) -> Result<Option<Identity>, DirectoryError> {
        let Some(subject) = self.subject(entry) else {
            return Ok(None);
        };
        let member_of = groups::values(entry, &self.config.member_of_attribute);
        let mut dns: Vec<String> = member_of.cloned().collect();
        if let Some(base) = &self.config.group_base {
            let values = [("{dn}", entry.dn.as_str()), ("{subject}", subject)];
            let search = Search {
                base,
                base_setting: "WARREN_LDAP_GROUP_BASE",
                filter: &self.config.group_filter.fill(&values),
                filter_setting: "WARREN_LDAP_GROUP_FILTER",
                // None: the DN comes anyway.
                attributes: &["1.1"],
                limit: MAX_GROUPS,
            };
            let found = connection.search(&search).await?;
            if found.more {
                return Err(DirectoryError::TooManyGroups);
            }
            dns.extend(found.entries.into_iter().map(|group| group.dn));
        }
        if dns.len() > MAX_GROUPS {
            return Err(DirectoryError::TooManyGroups);
        }
        Ok(Some(Identity {
            subject: subject.to_owned(),
            groups: groups::names(dns),
        }))
    }

    /// The one value of the attribute that names a user in Warren.
    fn subject<'a>(&self, entry: &'a SearchEntry) -> Option<&'a str> {
        let attribute = &self.config.subject_attribute;
        let mut values = groups::values(entry, attribute);
        let problem = match (values.next(), values.next()) {
            (None, _) => "is missing, or no text",
            (Some(_), Some(_)) => "has several values",
            (Some(value), None) if value.is_empty() || value.len() > MAX_SUBJECT => {
                "is empty or too long"
            }
            (Some(value), None) if value.chars().any(char::is_control) => "has control characters",
            (Some(value), None) => return Some(value),
        };
        tracing::warn!(
            attribute,
            "A sign-in was refused: the attribute in WARREN_LDAP_SUBJECT_ATTRIBUTE {problem}"
        );
        None
    }
}
