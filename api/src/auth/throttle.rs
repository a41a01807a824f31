//! Slowing down whoever guesses passwords: failures of a name from an address make further attempts of that name from there wait, longer
//! and longer, right or wrong. Nobody is locked out, and few wait at once; who comes when those few are there has to try again.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use sha2::{Digest, Sha256};
use warren_common::store::{Db, DbError, login_failures};

use crate::error::ApiError;

/// An attempt to sign in.
pub struct Attempt {
    key: [u8; 32],
}

impl Attempt {
    /// Of this user from this address.
    pub fn new(user: &str, address: IpAddr) -> Self {
        let mut hash = Sha256::new();
        hash.update(origin(address).octets());
        hash.update(user);
        Self {
            key: hash.finalize().into(),
        }
    }

    /// How long it must wait before it may be checked; refused when too many wait.
    pub async fn delay(&self, db: &Db) -> Result<Duration, ApiError> {
        let place = login_failures::place(db, &self.key).await?;
        place.ok_or(ApiError::TooManyAttempts)
    }

    /// It was not the password.
    pub async fn failed(&self, db: &Db) -> Result<(), DbError> {
        login_failures::count(db, &self.key).await
    }

    /// It was.
    pub async fn succeeded(&self, db: &Db) -> Result<(), DbError> {
        login_failures::forget(db, &self.key).await
    }
}

/// Whom an address stands for. Who has one of IPv6 has a network of them, and changes it at will.
fn origin(address: IpAddr) -> Ipv6Addr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => {
            const NETWORK: u128 = !(u64::MAX as u128);
            Ipv6Addr::from_bits(address.to_bits() & NETWORK)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(user: &str, address: &str) -> [u8; 32] {
        Attempt::new(user, address.parse().unwrap()).key
    }

    #[test]
    fn attempts_count_together_by_name_and_origin() {
        let ana = key("ana", "192.0.2.1");
        assert_eq!(ana, key("ana", "::ffff:192.0.2.1"));
        assert_ne!(ana, key("ana", "192.0.2.2"));
        assert_ne!(ana, key("bob", "192.0.2.1"));
        assert_eq!(key("ana", "2001:db8::1"), key("ana", "2001:db8::ffff"));
        assert_ne!(key("ana", "2001:db8::1"), key("ana", "2001:db8:0:1::1"));
    }
}
