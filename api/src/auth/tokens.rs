//! Access tokens: JWTs signed with ES256, by keys that every node shares through Postgres; and the refresh tokens beside them.

mod claims;
mod families;
mod keyring;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::Utc;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;
use tokio::time::{Instant, MissedTickBehavior};
use warren_common::id::{FamilyId, PrincipalId};
use warren_common::model::AuditEvent;
use warren_common::store::tokens::{self, FamilyState, Grant, Lives, Proof, ReadTo};
use warren_common::store::{Db, DbError, keys, principals};

use self::claims::{Claims, Verified, WARREN};
use self::families::Families;
use self::keyring::{Keyring, Ours};
use super::Caller;
use super::cache::{Cache, fingerprint};
use super::standings::Standings;
use crate::audit::{Notes, Who};
use crate::error::ApiError;

/// Between two reads of the keys that unknown key ids cause.
const REREAD_PAUSE: Duration = Duration::from_secs(1);

/// Between two looks at what was renewed or revoked at other nodes. It has to be known there within a second.
const READ_EVERY: Duration = Duration::from_millis(400);
/// How long such a look may take.
const READ_LIMIT: Duration = Duration::from_secs(2);
/// Between two reads of the keys, so that a node signs with a new one without being asked.
const KEYS_EVERY: Duration = Duration::from_secs(10);

const DAY: Duration = Duration::from_secs(86_400);
/// How long a refresh token can be exchanged.
const REFRESH_LIFE: Duration = DAY.saturating_mul(14);
/// How long everything that descends from one sign-in lives at most.
pub const FAMILY_LIFE: Duration = DAY.saturating_mul(90);

const BAD_TOKEN: ApiError =
    ApiError::Unauthorized("the access token is not valid, or not any more; sign in again");

/// The signing keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// They could not be read or stored.
    #[error("the keys of access tokens could not be read")]
    Database(#[from] DbError),
    /// None could be made.
    #[error("no key for access tokens could be made")]
    Generate,
    /// A stored one is of no use.
    #[error("the stored key {kid} of access tokens cannot be used")]
    Unusable {
        /// Which.
        kid: String,
        /// What is wrong with it.
        #[source]
        source: jsonwebtoken::errors::Error,
    },
}

/// A refresh token that renews nothing.
pub(crate) const BAD_REFRESH: ApiError =
    ApiError::Unauthorized("the refresh token is not valid, or not any more; sign in again");

/// Issues, renews, revokes and verifies tokens.
pub struct Tokens {
    db: Db,
    keys: Keyring,
    verified: Cache<Verified>,
    families: Families,
    standings: Standings,
    behind: Mutex<Behind>,
    lives: Lives,
    source: String,
}

/// How far this node has read what others changed.
#[derive(Default)]
struct Behind {
    families: ReadTo,
    principals: ReadTo,
}

/// An access token and the refresh token that renews it.
pub struct Pair {
    /// The access token.
    pub access: String,
    /// How long it is valid, in seconds.
    pub seconds: i64,
    /// When it expires, in Unix seconds.
    pub expires: i64,
    /// The refresh token.
    pub refresh: String,
}

impl Tokens {
    /// Reads the keys, of which the first node makes one, and what is not valid any more. `life` is that of an access token;
    /// only tokens of principals are accepted for whom `source` vouched.
    pub async fn load(db: Db, life: Duration, source: &str) -> Result<Self, KeyError> {
        let mut stored = keys::all(&db).await?;
        if stored.is_empty() {
            let fresh = keyring::generate()?;
            keys::add_first(&db, &fresh).await?;
            stored = keys::all(&db).await?;
        }
        Ok(Self {
            db,
            keys: Keyring::new(&stored)?,
            verified: Cache::default(),
            families: Families::default(),
            standings: Standings::default(),
            behind: Mutex::default(),
            source: source.to_owned(),
            lives: Lives {
                family: FAMILY_LIFE,
                refresh: REFRESH_LIFE,
                access: life,
            },
        })
    }

    /// Learns, for as long as it is polled, what other nodes renewed and revoked, and of new keys.
    pub async fn follow(&self) {
        let mut pace = tokio::time::interval(READ_EVERY);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut keys_read = Instant::now();
        loop {
            pace.tick().await;
            let began = Instant::now();
            if in_time("what was revoked", self.read_changes())
                .await
                .is_some()
            {
                self.families.noted_all(began);
            }
            if keys_read.elapsed() >= KEYS_EVERY {
                keys_read = began;
                in_time("the keys of access tokens", self.read_keys()).await;
            }
        }
    }

    /// Learns at once what this node has just changed of users. Should it not come to that, it is read with what others changed.
    pub async fn catch_up(&self) {
        in_time("what was changed", self.read_changes()).await;
    }

    async fn read_changes(&self) -> Result<(), DbError> {
        let mut behind = self.behind.lock().await;
        let (changed, read_to) = tokens::changed_families(&self.db, &behind.families).await?;
        for (family, state) in changed {
            self.families.note(family, state);
        }
        behind.families = read_to;
        let (changed, read_to) = principals::changed(&self.db, &behind.principals).await?;
        for (principal, standing) in changed {
            self.standings.note(principal, standing);
        }
        behind.principals = read_to;
        Ok(())
    }

    /// Signs a principal in that has proved who it is; `None` when it was changed since.
    pub async fn begin(
        &self,
        user: PrincipalId,
        proof: Proof<'_>,
    ) -> Result<Option<Pair>, ApiError> {
        let (refresh, hash) = refresh_token()?;
        let grant = tokens::start_family(&self.db, user, proof, &hash, self.lives).await?;
        grant.map(|grant| self.pair(&grant, refresh)).transpose()
    }

    /// Whose sign-in a refresh token renews, by the subject at the source. None when it renews none.
    pub async fn subject_of(&self, refresh: &str) -> Result<Option<String>, ApiError> {
        let holder = tokens::holder(&self.db, &hash_of(refresh)).await?;
        let holder = holder.filter(|(source, _subject)| *source == self.source);
        Ok(holder.map(|(_source, subject)| subject))
    }

    /// Exchanges a refresh token for the next pair. One that comes a second time ends its sign-in, and `notes` says whose.
    pub async fn renew(&self, refresh: &str, notes: &mut Notes<'_>) -> Result<Pair, ApiError> {
        let spent = hash_of(refresh);
        let (fresh, hash) = refresh_token()?;
        let renewed = tokens::renew(&self.db, &self.source, &spent, &hash, self.lives).await?;
        let Some(grant) = renewed else {
            self.revoke_by(&spent, true, notes).await?;
            return Err(BAD_REFRESH);
        };
        self.changed(grant.family, Some(grant.generation));
        self.pair(&grant, fresh)
    }

    /// Ends the sign-in that a refresh token descends from; `notes` says whose. An error when the token could not be exchanged any more.
    pub async fn revoke(&self, refresh: &str, notes: &mut Notes<'_>) -> Result<(), ApiError> {
        if self.revoke_by(&hash_of(refresh), false, notes).await? {
            Ok(())
        } else {
            Err(BAD_REFRESH)
        }
    }

    /// True when a sign-in was ended by a token that could still be exchanged.
    async fn revoke_by(
        &self,
        hash: &[u8],
        only_spent: bool,
        notes: &mut Notes<'_>,
    ) -> Result<bool, ApiError> {
        let Some(revoked) = tokens::revoke(&self.db, hash, only_spent).await? else {
            return Ok(false);
        };
        self.changed(revoked.family, None);
        if !revoked.by_live_token {
            tracing::warn!(
                family = %revoked.family,
                "A refresh token came a second time, so its sign-in was ended: it may have been stolen"
            );
            let what = format!("{}: a refresh token came a second time", revoked.name);
            notes.aside(AuditEvent::SignOut, WARREN, &what);
        }
        notes.who = Some(Who {
            id: Some(revoked.principal),
            name: revoked.name,
        });
        Ok(revoked.by_live_token)
    }

    /// Takes note at once of what this node has changed. For how long it is of interest is read with what others changed.
    fn changed(&self, family: FamilyId, accepted: Option<i32>) {
        let state = FamilyState {
            accepted,
            relevant_seconds: self.lives.access.as_secs_f64(),
        };
        self.families.note(family, state);
    }

    fn pair(&self, grant: &Grant, refresh: String) -> Result<Pair, ApiError> {
        let claims = Claims::new(grant, &self.source, Utc::now().timestamp());
        Ok(Pair {
            access: self.keys.sign(&claims).map_err(ApiError::internal)?,
            seconds: grant.access_seconds,
            expires: claims.exp,
            refresh,
        })
    }

    /// Whose token it is, and what that may do now. `notes` says whose it is also when it is not valid any more.
    pub async fn verify(&self, token: &str, notes: &mut Notes<'_>) -> Result<Caller, ApiError> {
        let Verified {
            caller,
            revision,
            family,
            generation,
        } = self.signed(token, notes).await?;
        if !self.families.is_current(Instant::now()) {
            let state = tokens::family_state(&self.db, family).await?;
            self.families.note(family, state);
            let standing = principals::standing_of(&self.db, caller.id).await?;
            self.standings.note(caller.id, standing.ok_or(BAD_TOKEN)?);
        }
        if !self.families.accepts(family, generation) {
            return Err(BAD_TOKEN);
        }
        let role = self.standings.role_of(caller.id, (caller.role, revision));
        Ok(Caller {
            role: role.ok_or(BAD_TOKEN)?,
            ..caller
        })
    }

    /// Whether a principal is disabled that was not at this revision. For whoever has found out in another way who it is.
    pub async fn is_disabled(
        &self,
        principal: PrincipalId,
        revision: i32,
    ) -> Result<bool, DbError> {
        if !self.families.is_current(Instant::now())
            && let Some(standing) = principals::standing_of(&self.db, principal).await?
        {
            self.standings.note(principal, standing);
        }
        Ok(self.standings.is_disabled(principal, revision))
    }

    /// What a token says, if one of our keys signed it and it has not expired.
    async fn signed(&self, token: &str, notes: &mut Notes<'_>) -> Result<Verified, ApiError> {
        let now = Utc::now().timestamp();
        let fingerprint = fingerprint(token);
        if let Some(verified) = self.verified.find(&fingerprint, now) {
            notes.who = Some(Who::from(&verified.caller));
            return Ok(verified);
        }
        let kid = keyring::key_id(token).ok_or(BAD_TOKEN)?;
        if !self.keys.knows(&kid) {
            self.reread().await?;
        }
        let (claims, is_valid) = match self.keys.verify(token, &kid).ok_or(BAD_TOKEN)? {
            Ours::Valid(claims) => (claims, true),
            Ours::Expired(claims) => (claims, false),
        };
        if claims.source != self.source {
            return Err(BAD_TOKEN);
        }
        let expires = claims.exp;
        let verified = claims.verified().ok_or(BAD_TOKEN)?;
        notes.who = Some(Who::from(&verified.caller));
        if !is_valid {
            return Err(BAD_TOKEN);
        }
        self.verified
            .keep(fingerprint, verified.clone(), expires, now);
        Ok(verified)
    }

    /// The public halves of the keys (RFC 7517), for whoever wants to verify tokens by itself.
    pub fn public_keys(&self) -> serde_json::Value {
        self.keys.public()
    }

    /// Reads the keys again: once for everybody who came before the read, and not more than once a second.
    async fn reread(&self) -> Result<(), ApiError> {
        let arrived = tokio::time::Instant::now();
        let mut last = self.keys.reading.lock().await;
        if *last >= arrived {
            return Ok(());
        }
        tokio::time::sleep_until(*last + REREAD_PAUSE).await;
        self.read_keys().await.map_err(|error| match error {
            KeyError::Database(error) => error.into(),
            other => ApiError::internal(other),
        })?;
        *last = tokio::time::Instant::now();
        Ok(())
    }

    async fn read_keys(&self) -> Result<(), KeyError> {
        self.keys.replace(&keys::all(&self.db).await?)
    }
}

/// What was read, if that came to something in time. If not, the next look is soon.
async fn in_time<T, E: std::fmt::Display>(
    what: &str,
    read: impl Future<Output = Result<T, E>>,
) -> Option<T> {
    match tokio::time::timeout(READ_LIMIT, read).await {
        Ok(Ok(read)) => return Some(read),
        Ok(Err(error)) => tracing::debug!(error = %error, "Could not read {what}"),
        Err(_elapsed) => tracing::debug!("Could not read {what} in time"),
    }
    None
}

/// Makes a key that signs from now on. Nodes take it into use within seconds; tokens of the earlier ones stay valid until they expire.
pub async fn rotate_keys(db: &Db) -> Result<String, KeyError> {
    let fresh = keyring::generate()?;
    keys::rotate(db, &fresh).await?;
    Ok(fresh.kid)
}

/// A refresh token, and the hash of it that is stored.
fn refresh_token() -> Result<(String, Vec<u8>), ApiError> {
    let mut bytes = [0_u8; 32];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_unspecified| ApiError::internal("the system gives no random bytes"))?;
    let token = URL_SAFE_NO_PAD.encode(bytes);
    let hash = hash_of(&token);
    Ok((token, hash))
}

fn hash_of(refresh: &str) -> Vec<u8> {
    Sha256::digest(refresh).to_vec()
}
