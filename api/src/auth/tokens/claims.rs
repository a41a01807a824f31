//! What an access token says.

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use warren_common::id::{FamilyId, PrincipalId};
use warren_common::model::Role;
use warren_common::store::principals::LOCAL;
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
    /// The role of the caller, in a list as other issuers have it; empty in tokens of a version that knew none.
    #[serde(default)]
    pub(super) roles: Vec<String>,
    /// At which revision of the principal that was so.
    #[serde(default, rename = "rev")]
    pub(super) revision: i32,
    /// Who vouched for the principal; the local users where a token does not say.
    #[serde(default = "local", rename = "src")]
    pub(super) source: String,
}

fn local() -> String {
    LOCAL.to_owned()
}

/// What a valid token comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verified {
    /// With the role that the token says.
    pub(super) caller: Caller,
    pub(super) revision: i32,
    pub(super) family: FamilyId,
    pub(super) generation: i32,
    /// Unix seconds.
    pub(super) expires: i64,
}

impl Claims {
    /// What a token says that is issued now, in Unix seconds, to somebody whom `source` vouches for.
    pub(super) fn new(grant: &Grant, source: &str, now: i64) -> Self {
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
            roles: vec![grant.role.word().to_owned()],
            revision: grant.revision,
            source: source.to_owned(),
        }
    }

    /// Whose token it is; none when no principal can have such an id, or there is no such role. Whoever has a token of a version that
    /// knew no roles may do what everybody could then.
    pub(super) fn verified(self) -> Option<Verified> {
        let id: PrincipalId = self.sub.parse().ok()?;
        let role = match self.roles.first() {
            Some(word) => word.parse().ok()?,
            None => Role::Contributor,
        };
        Some(Verified {
            caller: Caller {
                id,
                name: self.name,
                role,
            },
            revision: self.revision,
            family: self.sid,
            generation: self.generation,
            expires: self.exp,
        })
    }
}
