//! Slowing down whoever guesses passwords, without locking anybody out: failures of a name from an address make further attempts of
//! that name from there wait, longer and longer, right or wrong.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use sha2::{Digest, Sha256};
use warren_common::store::{Db, DbError, login_failures};

/// No attempt waits longer: one that would have to is refused after it, unchecked.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

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

    /// How long it must wait before it may be checked.
    pub async fn delay(&self, db: &Db) -> Result<Delay, DbError> {
        login_failures::place(db, &self.key).await.map(Delay::of)
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

/// What an attempt has to bear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delay {
    /// Nothing.
    None,
    /// It is checked after so long.
    Checked(Duration),
    /// Too many wait before it: it is refused after so long.
    Refused(Duration),
}

impl Delay {
    fn of(wait: Duration) -> Self {
        match wait {
            Duration::ZERO => Self::None,
            wait if wait <= LONGEST_WAIT => Self::Checked(wait),
            _ => Self::Refused(LONGEST_WAIT),
        }
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
    fn nobody_waits_for_ever() {
        let seconds = Duration::from_secs;
        assert_eq!(Delay::of(Duration::ZERO), Delay::None);
        assert_eq!(Delay::of(seconds(30)), Delay::Checked(seconds(30)));
        assert_eq!(Delay::of(seconds(31)), Delay::Refused(seconds(30)));
        assert_eq!(Delay::of(Duration::MAX), Delay::Refused(seconds(30)));
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
