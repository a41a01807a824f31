//! Passwords: Argon2id with the parameters that OWASP recommends (19 MiB, two passes, one lane).

use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ApiError;

/// Checked when there is no such user, so that the answer takes as long as for a wrong password. It fits no password.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$d2FycmVuLW5vYm9keS4$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
/// How long a sign-in waits for its turn to compute.
const TURN_WAIT: Duration = Duration::from_secs(10);

/// A password could not be hashed.
#[derive(Debug, thiserror::Error)]
#[error("the password could not be hashed")]
pub struct HashError(#[source] argon2::password_hash::Error);

/// Checks passwords, as many at once as there are cores.
pub struct Passwords {
    turns: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        let cores = available_parallelism().map_or(1, NonZero::get);
        Self {
            turns: Arc::new(Semaphore::new(cores)),
        }
    }
}

/// Leave to check one password.
pub struct Turn {
    _place: OwnedSemaphorePermit,
}

impl Passwords {
    /// Waits for a turn.
    pub async fn turn(&self) -> Result<Turn, ApiError> {
        let place = Arc::clone(&self.turns).acquire_owned();
        match tokio::time::timeout(TURN_WAIT, place).await {
            Ok(Ok(place)) => Ok(Turn { _place: place }),
            _ => Err(ApiError::unavailable("too many are signing in at once")),
        }
    }
}

impl Turn {
    /// True when the password fits the hash; without a hash never, after the same time. Gives the turn back, for what has to be done
    /// before the next password is checked.
    pub async fn fits(
        self,
        password: String,
        hash: Option<String>,
    ) -> Result<(bool, Self), ApiError> {
        let check = move || {
            let fits = verify(&password, hash.as_deref().unwrap_or(NOBODY));
            // Held until the work is done, also when the caller has gone away.
            (fits && hash.is_some(), self)
        };
        tokio::task::spawn_blocking(check)
            .await
            .map_err(ApiError::internal)
    }

    /// Hashes a password that is to be set.
    pub async fn hash(self, password: String) -> Result<String, ApiError> {
        let work = move || {
            let _turn = self;
            hash(&password)
        };
        let hash = tokio::task::spawn_blocking(work);
        hash.await
            .map_err(ApiError::internal)?
            .map_err(ApiError::internal)
    }
}

/// Hashes a password, which takes a while and 19 MiB.
pub fn hash(password: &str) -> Result<String, HashError> {
    let hash: PasswordHash = hasher()
        .hash_password(password.as_bytes())
        .map_err(HashError)?;
    Ok(hash.to_string())
}

fn verify(password: &str, hash: &str) -> bool {
    match PasswordHash::new(hash) {
        Ok(hash) => hasher().verify_password(password.as_bytes(), &hash).is_ok(),
        Err(_unreadable) => {
            tracing::error!("A stored password hash cannot be read");
            false
        }
    }
}

fn hasher() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_fits_its_hash_only() {
        let hash = hash("correct horse").unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        assert!(verify("correct horse", &hash));
        assert!(!verify("battery staple", &hash));
    }

    #[tokio::test]
    async fn nobody_is_checked_like_everybody() {
        assert!(PasswordHash::new(NOBODY).is_ok());
        let turn = Passwords::default().turn().await.unwrap();
        let (fits, _turn) = turn.fits("anything".to_owned(), None).await.unwrap();
        assert!(!fits);
    }
}
