//! Callers with access tokens of an OpenID provider.

mod claims;
mod fetch;
mod key_set;
mod keys;
mod provider;

use chrono::Utc;
use warren_common::store::{Db, principals};

pub use self::fetch::ClientError;
pub use self::provider::Provider;
use super::Caller;
use super::cache::{Cache, fingerprint};
use super::groups::RoleGroups;
use super::tokens::Tokens;
use crate::audit::{Notes, Who};
use crate::error::ApiError;

/// Finds out whose a provider's token is, and what that may do.
pub struct OpenId {
    provider: Provider,
    roles: RoleGroups,
    /// Who vouches for a subject: what another provider calls the same is somebody else.
    source: String,
    db: Db,
    verified: Cache<Verified>,
}

/// What a valid token comes to.
#[derive(Clone)]
struct Verified {
    caller: Caller,
    /// That of the principal when it was looked up.
    revision: i32,
    /// How often the provider's keys had changed before.
    key_changes: u64,
}

impl OpenId {
    /// Callers of this provider, whose groups have these roles.
    pub fn new(provider: Provider, roles: RoleGroups, db: Db) -> Self {
        Self {
            source: format!("{}:{}", principals::OPENID, provider.issuer()),
            provider,
            roles,
            db,
            verified: Cache::default(),
        }
    }

    /// What the provider calls itself.
    pub fn issuer(&self) -> &str {
        self.provider.issuer()
    }

    /// Keeps the provider's keys current for as long as it is polled.
    pub async fn follow(&self) {
        self.provider.follow().await;
    }

    /// Whose token it is, with the role that the groups in this very token give: one that was made to do less does not do more because
    /// another has been seen. `tokens` knows who was disabled.
    /// `notes` says whose it is also when it does not count, where that is certain.
    pub async fn verify(
        &self,
        token: &str,
        tokens: &Tokens,
        notes: &mut Notes<'_>,
    ) -> Result<Caller, ApiError> {
        let verified = self.verified(token, notes).await?;
        let Verified {
            caller, revision, ..
        } = verified;
        if tokens.is_disabled(caller.id, revision).await? {
            return Err(disabled());
        }
        Ok(caller)
    }

    /// What a token comes to. Only one that is new here, or was before the keys changed, costs a signature and a look at the database.
    async fn verified(&self, token: &str, notes: &mut Notes<'_>) -> Result<Verified, ApiError> {
        let now = Utc::now().timestamp();
        let fingerprint = fingerprint(token);
        let key_changes = self.provider.key_changes();
        if let Some(verified) = self.verified.find(&fingerprint, now)
            && verified.key_changes == key_changes
        {
            notes.who = Some(Who::from(&verified.caller));
            return Ok(verified);
        }
        let (identity, expires) = self.provider.verify(token, notes).await?;
        let role = self.roles.role_of(&identity.groups).ok_or_else(no_role)?;
        let subject = identity.subject;
        let principal = principals::seen(&self.db, &self.source, &subject, role).await?;
        notes.who = Some(Who {
            id: Some(principal.id),
            name: subject.clone(),
        });
        notes.of_groups(principal.news, &self.source, &subject, role);
        if principal.standing.disabled {
            return Err(disabled());
        }
        let caller = Caller {
            id: principal.id,
            name: subject,
            role,
        };
        let verified = Verified {
            caller,
            revision: principal.standing.revision,
            key_changes,
        };
        self.verified
            .keep(fingerprint, verified.clone(), expires, now);
        Ok(verified)
    }
}

fn no_role() -> ApiError {
    ApiError::Forbidden(
        "none of your groups has a role here; the operator says which have, with WARREN_READER_GROUPS and its like"
            .to_owned(),
    )
}

fn disabled() -> ApiError {
    ApiError::Forbidden("an operator has disabled you here".to_owned())
}
