//! Access tokens: JWTs signed with ES256, by keys that every node shares through Postgres.

mod cache;
mod claims;
mod keyring;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::Utc;
use sha2::{Digest, Sha256};
use warren_common::id::FamilyId;
use warren_common::store::{Db, DbError, keys};

use self::cache::Cache;
use self::claims::Claims;
use self::keyring::Keyring;
use super::Caller;
use crate::error::ApiError;

/// Between two reads of the keys that unknown key ids cause.
const REREAD_PAUSE: Duration = Duration::from_secs(1);

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

/// Issues and verifies access tokens.
pub struct Tokens {
    db: Db,
    keys: Keyring,
    verified: Cache,
    life: Duration,
}

impl Tokens {
    /// Reads the keys; the first node makes one.
    pub async fn load(db: Db, life: Duration) -> Result<Self, KeyError> {
        let mut stored = keys::all(&db).await?;
        if stored.is_empty() {
            let fresh = keyring::generate()?;
            keys::add_first(&db, &fresh).await?;
            stored = keys::all(&db).await?;
        }
        let keys = Keyring::new(&stored)?;
        Ok(Self {
            db,
            keys,
            verified: Cache::default(),
            life,
        })
    }

    /// How long a token is valid.
    pub const fn life(&self) -> Duration {
        self.life
    }

    /// A token for a caller, and the second at which it expires.
    pub fn issue(&self, caller: &Caller, family: FamilyId) -> Result<(String, i64), ApiError> {
        let now = Utc::now().timestamp();
        let expires = now.saturating_add(i64::try_from(self.life.as_secs()).unwrap_or(i64::MAX));
        let claims = Claims::new(caller, family, now, expires);
        let token = self.keys.sign(&claims).map_err(ApiError::internal)?;
        Ok((token, expires))
    }

    /// Whose token it is.
    pub async fn verify(&self, token: &str) -> Result<Caller, ApiError> {
        let now = Utc::now().timestamp();
        let fingerprint: [u8; 32] = Sha256::digest(token).into();
        if let Some(caller) = self.verified.find(&fingerprint, now) {
            return Ok(caller);
        }
        let kid = keyring::key_id(token).ok_or(BAD_TOKEN)?;
        if !self.keys.knows(&kid) {
            self.reread().await?;
        }
        let claims = self.keys.verify(token, &kid).ok_or(BAD_TOKEN)?;
        let (caller, expires) = claims.caller().ok_or(BAD_TOKEN)?;
        self.verified.keep(fingerprint, &caller, expires, now);
        Ok(caller)
    }

    /// Reads the keys again: once for everybody who came before the read, and not more than once a second.
    async fn reread(&self) -> Result<(), ApiError> {
        let arrived = tokio::time::Instant::now();
        let mut last = self.keys.reading.lock().await;
        if *last >= arrived {
            return Ok(());
        }
        tokio::time::sleep_until(*last + REREAD_PAUSE).await;
        let stored = keys::all(&self.db).await?;
        self.keys.replace(&stored).map_err(ApiError::internal)?;
        *last = tokio::time::Instant::now();
        Ok(())
    }
}

/// A refresh token, and the hash of it that is stored.
pub fn refresh_token() -> Result<(String, Vec<u8>), ApiError> {
    let mut bytes = [0_u8; 32];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_unspecified| ApiError::internal("the system gives no random bytes"))?;
    let token = URL_SAFE_NO_PAD.encode(bytes);
    let hash = Sha256::digest(&token).to_vec();
    Ok((token, hash))
}
