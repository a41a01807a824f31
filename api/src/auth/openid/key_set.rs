//! The keys that a provider signs with, and which of them may have signed a token.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// Sizes of RSA keys that are taken, in bits: shorter ones can be broken, and longer ones are a way to keep a node busy.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// A JSON Web Key Set (RFC 7517) as it arrives. One odd key must not cost the others.
#[derive(Deserialize)]
pub(super) struct KeyDocument {
    keys: Vec<Value>,
}

/// The keys of a provider that may sign tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeySet {
    keys: Vec<Jwk>,
}

/// Why no key can be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoKey {
    /// None fits; a newer set may have one.
    Unknown,
    /// More than one fits, and the token does not say which.
    Ambiguous,
}

impl KeySet {
    /// The usable keys of a document.
    pub(super) fn read(document: KeyDocument) -> Self {
        let all = document.keys.len();
        let keys: Vec<Jwk> = document
            .keys
            .into_iter()
            .filter_map(|key| serde_json::from_value(key).ok())
            .filter(is_usable)
            .collect();
        if keys.is_empty() {
            tracing::warn!(
                "None of the {all} keys of the OpenID provider can verify tokens: they must be RSA keys of 2048 to 8192 bits, EC keys on \
                 P-256 or P-384, or Ed25519 keys"
            );
        }
        Self { keys }
    }

    /// The one key that may have signed a token with this algorithm and key id.
    pub(super) fn find(&self, algorithm: Algorithm, kid: Option<&str>) -> Result<&Jwk, NoKey> {
        let is_named = |key: &&Jwk| kid.is_none() || key.common.key_id.as_deref() == kid;
        let mut fitting = self
            .keys
            .iter()
            .filter(is_named)
            .filter(|key| fits(key, algorithm));
        let key = fitting.next().ok_or(NoKey::Unknown)?;
        match fitting.next() {
            None => Ok(key),
            Some(_other) => Err(NoKey::Ambiguous),
        }
    }
}

/// True for a public key that may verify signatures and is strong enough.
fn is_usable(key: &Jwk) -> bool {
    let for_signatures = matches!(
        key.common.public_key_use,
        None | Some(PublicKeyUse::Signature)
    );
    let may_verify = key
        .common
        .key_operations
        .as_ref()
        .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    let is_strong = match &key.algorithm {
        AlgorithmParameters::RSA(rsa) => bits(&rsa.n).is_some_and(|bits| RSA_BITS.contains(&bits)),
        AlgorithmParameters::EllipticCurve(_) | AlgorithmParameters::OctetKeyPair(_) => true,
        // Among others the secrets of HMACs, which have no business in a public set.
        _ => false,
    };
    for_signatures && may_verify && is_strong && DecodingKey::from_jwk(key).is_ok()
}

/// True when a key is one of this algorithm: otherwise a token could have its signature checked in another way than its key is meant for.
fn fits(key: &Jwk, algorithm: Algorithm) -> bool {
    let is_named = key
        .common
        .key_algorithm
        .is_none_or(|named| named == KeyAlgorithm::from(algorithm));
    let is_of_kind = match &key.algorithm {
        AlgorithmParameters::RSA(_) => algorithm.family() == AlgorithmFamily::Rsa,
        AlgorithmParameters::EllipticCurve(point) => matches!(
            (algorithm, &point.curve),
            (Algorithm::ES256, EllipticCurve::P256) | (Algorithm::ES384, EllipticCurve::P384)
        ),
        AlgorithmParameters::OctetKeyPair(pair) => {
            (algorithm, &pair.curve) == (Algorithm::EdDSA, &EllipticCurve::Ed25519)
        }
        _ => false,
    };
    is_named && is_of_kind
}

/// The length of a number in bits.
fn bits(number: &str) -> Option<usize> {
    let bytes = URL_SAFE_NO_PAD.decode(number).ok()?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let first = bytes.get(zeros)?;
    Some((bytes.len() - zeros) * 8 - first.leading_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(keys: &[Value]) -> KeySet {
        KeySet::read(KeyDocument {
            keys: keys.to_vec(),
        })
    }

    fn rsa(kid: &str, bits: usize) -> Value {
        let mut modulus = vec![0xff; bits / 8];
        if let Some(last) = modulus.last_mut() {
            *last = 1;
        }
        json!({"kty": "RSA", "kid": kid, "n": URL_SAFE_NO_PAD.encode(modulus), "e": "AQAB"})
    }

    fn ec(kid: &str, curve: &str) -> Value {
        json!({"kty": "EC", "kid": kid, "crv": curve, "x": "AAAA", "y": "AAAA"})
    }

    fn with(mut key: Value, member: &str, value: Value) -> Value {
        key[member] = value;
        key
    }

    #[test]
    fn a_key_is_found_by_its_id_and_algorithm() {
        let set = set(&[rsa("a", 2048), rsa("b", 4096), ec("a", "P-256")]);
        let found = |algorithm, kid| set.find(algorithm, kid).map(|key| &key.algorithm);
        assert!(matches!(
            found(Algorithm::PS256, Some("a")),
            Ok(AlgorithmParameters::RSA(_))
        ));
        assert!(matches!(
            found(Algorithm::ES256, Some("a")),
            Ok(AlgorithmParameters::EllipticCurve(_))
        ));
        assert_eq!(found(Algorithm::ES256, Some("b")), Err(NoKey::Unknown));
        assert_eq!(found(Algorithm::ES384, Some("a")), Err(NoKey::Unknown));
        assert_eq!(found(Algorithm::EdDSA, Some("a")), Err(NoKey::Unknown));
        assert_eq!(found(Algorithm::RS256, Some("c")), Err(NoKey::Unknown));
    }

    #[test]
    fn without_an_id_only_one_key_may_fit() {
        let set = set(&[rsa("a", 2048), rsa("b", 2048), ec("c", "P-256")]);
        assert_eq!(set.find(Algorithm::RS256, None), Err(NoKey::Ambiguous));
        assert!(set.find(Algorithm::ES256, None).is_ok());
    }

    #[test]
    fn a_key_is_for_the_algorithm_that_it_names() {
        let set = set(&[with(rsa("a", 2048), "alg", json!("PS256"))]);
        assert!(set.find(Algorithm::PS256, Some("a")).is_ok());
        assert_eq!(set.find(Algorithm::RS256, Some("a")), Err(NoKey::Unknown));
    }

    #[test]
    fn what_is_weak_or_for_something_else_is_left_out() {
        let short = rsa("a", 1024);
        let long = rsa("a", 8200);
        let encrypts = with(rsa("a", 2048), "use", json!("enc"));
        let wraps = with(rsa("a", 2048), "key_ops", json!(["wrapKey"]));
        let secret = json!({"kty": "oct", "kid": "a", "k": "AAAA"});
        let strange =
            json!({"kty": "EC", "kid": "a", "crv": "secp256k1", "x": "AAAA", "y": "AAAA"});
        let broken = json!({"kty": "RSA", "kid": "a", "n": 7});
        let good = with(ec("b", "P-384"), "use", json!("sig"));
        let set = set(&[
            short,
            long,
            encrypts,
            wraps,
            secret,
            strange,
            broken,
            json!(7),
            good,
        ]);
        assert_eq!(set.keys.len(), 1);
        assert!(set.find(Algorithm::ES384, Some("b")).is_ok());
    }

    #[test]
    fn leading_zeros_make_no_key_longer() {
        assert_eq!(bits(&URL_SAFE_NO_PAD.encode([0, 0, 1, 0])), Some(9));
        assert_eq!(bits(&URL_SAFE_NO_PAD.encode([0, 0])), None);
        assert_eq!(bits("!"), None);
    }
}
