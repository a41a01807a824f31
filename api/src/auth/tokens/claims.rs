//! What an access token says.

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use warren_common::id::{FamilyId, PrincipalId};

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
    /// Roles of the caller; none are known yet.
    #[serde(default)]
    pub(super) roles: Vec<String>,
}

impl Claims {
    /// What a token for this caller says.
    pub(super) fn new(caller: &Caller, family: FamilyId, now: i64, expires: i64) -> Self {
        Self {
            iss: WARREN.to_owned(),
            aud: WARREN.to_owned(),
            sub: caller.id.to_string(),
            name: caller.name.clone(),
            iat: now,
            nbf: now,
            exp: expires,
            jti: Uuid::new_v4().to_string(),
            sid: family,
            roles: Vec::new(),
        }
    }

    /// Whose token it is, and until when.
    pub(super) fn caller(self) -> Option<(Caller, i64)> {
        let id: PrincipalId = self.sub.parse().ok()?;
        let caller = Caller {
            id,
            name: self.name,
        };
        Some((caller, self.exp))
    }
}
