//! What an access token says.

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use warren_common::id::{FamilyId, PrincipalId};
use warren_common::store::tokens::Grant;

use crate::auth::Caller;

/// Who issues, and for whom.
pub(super) const WARREN: &str = "warren";

/// The claims of an access token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Claims {
    /// Issuer.
    pub(super) iss: String,
    /// Audience.
    pub(super) aud: String,
    /// Principal id.
    pub(super) sub: String,
    /// Shown as owner.
    pub(super) name: String,
    /// Issued at.
    pub(super) iat: i64,
    /// Not before.
    pub(super) nbf: i64,
    /// Expires.
    pub(super) exp: i64,
    /// Names this token.
    pub(super) jti: String,
    /// The sign-in that it descends from.
    pub(super) sid: FamilyId,
    /// How often that had been renewed.
    #[serde(default, rename = "gen")]
    pub(super) generation: i32,
    /// Roles of the caller; none are known yet.
    #[serde(default)]
    pub(super) roles: Vec<String>,
}

/// What a valid token comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verified {
    pub(super) caller: Caller,
    pub(super) family: FamilyId,
    pub(super) generation: i32,
    /// Unix seconds.
    pub(super) expires: i64,
}

impl Claims {
    /// What a token says that is issued now, in Unix seconds.
    pub(super) fn new(grant: &Grant, now: i64) -> Self {
        Self {
            iss: WARREN.to_owned(),
            aud: WARREN.to_owned(),
            sub: grant.principal.to_string(),
            name: grant.name.clone(),
            iat: now,
            nbf: now,
            exp: now.saturating_add(grant.access_seconds),
            jti: Uuid::new_v4().to_string(),
            sid: grant.family,
            generation: grant.generation,
            roles: Vec::new(),
        }
    }

    /// Whose token it is; none when no principal can have such an id.
    pub(super) fn verified(self) -> Option<Verified> {
        let id: PrincipalId = self.sub.parse().ok()?;
        Some(Verified {
            caller: Caller {
                id,
                name: self.name,
            },
            family: self.sid,
            generation: self.generation,
            expires: self.exp,
        })
    }
}
