//! Why a directory says nothing of use. Names, passwords and filters are in none of these.

use std::error::Error;
use std::fmt;

use ldap3::{LdapError, LdapResult};

use super::MAX_GROUPS;

/// What lies below an error.
pub(super) type Cause = Box<dyn Error + Send + Sync>;

/// A directory cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// None of its servers could be used.
    #[error("no server of WARREN_LDAP_URL can be used; the last that was tried is {server}")]
    Away {
        /// The last one of those.
        server: String,
        /// What became of it.
        #[source]
        source: Cause,
    },
    /// The connection broke.
    #[error("the connection to the directory was lost")]
    Lost(#[source] Cause),
    /// It did not answer.
    #[error("the directory did not answer within WARREN_LDAP_TIMEOUT_SECONDS")]
    TimedOut,
    /// As many ask as may, and none was done in time.
    #[error("too many are signing in at once")]
    Busy,
    /// The account that searches is refused.
    #[error(
        "the directory refuses WARREN_LDAP_BIND_DN and WARREN_LDAP_BIND_PASSWORD; correct them"
    )]
    Service(#[source] Refusal),
    /// It answered something else than yes or no to a password.
    #[error("the directory does not say whether a password is right")]
    Bind(#[source] Refusal),
    /// A search failed.
    #[error("the directory refuses the search of {base_setting} by {filter_setting}")]
    Search {
        /// The setting that says where.
        base_setting: &'static str,
        /// The setting that says for what.
        filter_setting: &'static str,
        /// What it said.
        #[source]
        source: Refusal,
    },
    /// More groups than are looked at.
    #[error(
        "a user is in more than {MAX_GROUPS} groups, or in more than the directory lists; \
         have WARREN_LDAP_GROUP_FILTER or WARREN_LDAP_MEMBER_OF_ATTRIBUTE name fewer"
    )]
    TooManyGroups,
}

impl DirectoryError {
    /// True when it may pass by itself.
    pub fn is_away(&self) -> bool {
        matches!(
            self,
            Self::Away { .. } | Self::Lost(_) | Self::TimedOut | Self::Busy
        )
    }
}

/// What a directory says instead of doing as asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Result code (RFC 4511, appendix A).
    code: u32,
    /// What it says to people. The entry that it names is left out.
    text: String,
}

impl From<LdapResult> for Refusal {
    fn from(result: LdapResult) -> Self {
        Self {
            code: result.rc,
            text: result.text,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "result code {}", self.code)?;
        if !self.text.is_empty() {
            write!(f, " ({})", self.text.trim_end_matches('\0'))?;
        }
        Ok(())
    }
}

impl Error for Refusal {}

/// What lies below an error of the library, which repeats that in its own text.
pub(super) fn cause(error: LdapError) -> Cause {
    match error {
        LdapError::Io { source } => source.into(),
        LdapError::LdapResult { result } => Refusal::from(result).into(),
        LdapError::Timeout { .. } => "no answer within WARREN_LDAP_TIMEOUT_SECONDS".into(),
        other => other.into(),
    }
}
