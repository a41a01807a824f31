//! The keys: one signs, all verify.

use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use chrono::Utc;
use jsonwebtoken::errors::Error as JwtError;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;
use uuid::Uuid;
use warren_common::store::keys::SigningKey;

use super::KeyError;
use super::claims::{Claims, WARREN};

/// The one algorithm, whatever a token says of itself.
const ALGORITHM: Algorithm = Algorithm::ES256;
/// How far clocks of nodes may differ, in seconds.
const LEEWAY: u32 = 5;

struct Key {
    kid: String,
    public: Value,
    signs: EncodingKey,
    verifies: DecodingKey,
}

/// What a token says that one of the keys signed.
pub(super) enum Ours {
    /// It is valid now.
    Valid(Claims),
    /// It was; it lets nobody in.
    Expired(Claims),
}

/// The keys that this node knows.
pub(super) struct Keyring {
    keys: RwLock<Arc<Vec<Key>>>,
    validation: Validation,
    /// When they were read last; held while they are read.
    pub(super) reading: Mutex<Instant>,
}

impl Keyring {
    /// Keys as they are stored, the one that signs first.
    pub(super) fn new(stored: &[SigningKey]) -> Result<Self, KeyError> {
        let mut validation = Validation::new(ALGORITHM);
        validation.leeway = LEEWAY.into();
        // Judged afterwards: whose token it was is of interest.
        validation.validate_exp = false;
        validation.validate_nbf = true;
        validation.set_issuer(&[WARREN]);
        validation.set_audience(&[WARREN]);
        validation.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
        Ok(Self {
            keys: RwLock::new(read(stored)?),
            validation,
            reading: Mutex::new(Instant::now()),
        })
    }

    /// Takes the place of all keys.
    pub(super) fn replace(&self, stored: &[SigningKey]) -> Result<(), KeyError> {
        let keys = read(stored)?;
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// True when there is a key of that id.
    pub(super) fn knows(&self, kid: &str) -> bool {
        self.keys().iter().any(|key| key.kid == kid)
    }

    /// A token that says `claims`.
    pub(super) fn sign(&self, claims: &Claims) -> Result<String, JwtError> {
        let keys = self.keys();
        let key = keys
            .first()
            .ok_or(jsonwebtoken::errors::ErrorKind::InvalidEcdsaKey)?;
        let mut header = Header::new(ALGORITHM);
        header.kid = Some(key.kid.clone());
        encode(&header, claims, &key.signs)
    }

    /// What a token says, if it is one of ours.
    pub(super) fn verify(&self, token: &str, kid: &str) -> Option<Ours> {
        let keys = self.keys();
        let key = keys.iter().find(|key| key.kid == kid)?;
        let data = decode::<Claims>(token, &key.verifies, &self.validation).ok()?;
        let claims = data.claims;
        Some(if claims.exp < Utc::now().timestamp() - i64::from(LEEWAY) {
            Ours::Expired(claims)
        } else {
            Ours::Valid(claims)
        })
    }

    /// The public halves as a JSON Web Key Set.
    pub(super) fn public(&self) -> Value {
        let keys = self.keys();
        let public: Vec<&Value> = keys.iter().map(|key| &key.public).collect();
        json!({ "keys": public })
    }

    fn keys(&self) -> Arc<Vec<Key>> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&keys)
    }
}

/// The key id that a token names, if its header is one that we write.
pub(super) fn key_id(token: &str) -> Option<String> {
    let header = jsonwebtoken::decode_header(token).ok()?;
    (header.alg == ALGORITHM).then_some(header.kid).flatten()
}

/// Makes a key on the curve P-256.
pub(super) fn generate() -> Result<SigningKey, KeyError> {
    let pair = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
        .map_err(|_unspecified| KeyError::Generate)?;
    let private_der = pair.as_ref().to_vec();
    let public = Jwk::from_encoding_key(&EncodingKey::from_ec_der(&private_der), ALGORITHM)
        .map_err(|_error| KeyError::Generate)?;
    let AlgorithmParameters::EllipticCurve(point) = public.algorithm else {
        return Err(KeyError::Generate);
    };
    Ok(SigningKey {
        kid: Uuid::new_v4().to_string(),
        private_der,
        public_x: point.x,
        public_y: point.y,
    })
}

fn read(stored: &[SigningKey]) -> Result<Arc<Vec<Key>>, KeyError> {
    let read = stored.iter().map(|key| {
        let verifies =
            DecodingKey::from_ec_components(&key.public_x, &key.public_y).map_err(|source| {
                KeyError::Unusable {
                    kid: key.kid.clone(),
                    source,
                }
            })?;
        Ok(Key {
            kid: key.kid.clone(),
            public: json!({
                "kty": "EC",
                "crv": "P-256",
                "use": "sig",
                "alg": "ES256",
                "kid": key.kid,
                "x": key.public_x,
                "y": key.public_y,
            }),
            signs: EncodingKey::from_ec_der(&key.private_der),
            verifies,
        })
    });
    Ok(Arc::new(read.collect::<Result<_, KeyError>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use warren_common::id::{FamilyId, PrincipalId};
    use warren_common::model::Role;
    use warren_common::store::principals::LOCAL;
    use warren_common::store::tokens::Grant;

    fn claims() -> Claims {
        let grant = Grant {
            principal: PrincipalId::new(),
            name: "ana".to_owned(),
            role: Role::Reader,
            revision: 0,
            family: FamilyId::new(),
            generation: 0,
            access_seconds: 60,
        };
        Claims::new(&grant, LOCAL, Utc::now().timestamp())
    }

    fn accepted(ring: &Keyring, token: &str) -> bool {
        let ours = key_id(token).and_then(|kid| ring.verify(token, &kid));
        matches!(ours, Some(Ours::Valid(_)))
    }

    #[test]
    fn a_token_of_ours_is_accepted() {
        let ring = Keyring::new(&[generate().unwrap()]).unwrap();
        let claims = claims();
        let token = ring.sign(&claims).unwrap();
        let Some(Ours::Valid(read)) = ring.verify(&token, &key_id(&token).unwrap()) else {
            panic!("it is not valid")
        };
        assert_eq!((read.sub, read.sid), (claims.sub, claims.sid));
    }

    #[test]
    fn a_retired_key_still_verifies() {
        let (old, new) = (generate().unwrap(), generate().unwrap());
        let token = Keyring::new(std::slice::from_ref(&old))
            .unwrap()
            .sign(&claims())
            .unwrap();
        assert!(accepted(&Keyring::new(&[new, old]).unwrap(), &token));
    }

    #[test]
    fn expired_early_foreign_and_strange_tokens_are_refused() {
        let ring = Keyring::new(&[generate().unwrap()]).unwrap();
        let now = Utc::now().timestamp();
        let (mut expired, mut early) = (claims(), claims());
        let (mut audience, mut issuer) = (claims(), claims());
        expired.exp = now - 10;
        early.nbf = now + 60;
        "shop".clone_into(&mut audience.aud);
        "shop".clone_into(&mut issuer.iss);
        for claims in [expired, early, audience, issuer] {
            assert!(!accepted(&ring, &ring.sign(&claims).unwrap()), "{claims:?}");
        }
        let kept = ring.sign(&Claims {
            exp: now - 10,
            ..claims()
        });
        let kept = kept.unwrap();
        let read = ring.verify(&kept, &key_id(&kept).unwrap());
        assert!(matches!(read, Some(Ours::Expired(claims)) if claims.name == "ana"));
        assert!(!accepted(&ring, ""));
        assert!(!accepted(&ring, "a.b.c"));
    }

    #[test]
    fn a_key_of_somebody_else_is_refused_also_under_our_key_id() {
        let ours = generate().unwrap();
        let ring = Keyring::new(std::slice::from_ref(&ours)).unwrap();
        let foreign = Keyring::new(&[generate().unwrap()]).unwrap();
        assert!(!accepted(&ring, &foreign.sign(&claims()).unwrap()));
        let forged = Keyring::new(&[SigningKey {
            kid: ours.kid,
            ..generate().unwrap()
        }]);
        assert!(!accepted(&ring, &forged.unwrap().sign(&claims()).unwrap()));
    }

    #[test]
    fn a_tampered_token_is_refused() {
        let ring = Keyring::new(&[generate().unwrap()]).unwrap();
        let mut claims = claims();
        let token = ring.sign(&claims).unwrap();
        claims.name = "root".to_owned();
        let other = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims).unwrap());
        let parts: Vec<&str> = token.split('.').collect();
        assert!(!accepted(
            &ring,
            &format!("{}.{other}.{}", parts[0], parts[2])
        ));
        assert!(accepted(&ring, &token));
    }

    #[test]
    fn the_algorithm_is_not_for_the_token_to_choose() {
        let ring = Keyring::new(&[generate().unwrap()]).unwrap();
        let kid = ring.keys().first().unwrap().kid.clone();
        let body = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims()).unwrap());
        for alg in ["none", "None", "NONE", ""] {
            let header = serde_json::json!({"alg": alg, "typ": "JWT", "kid": kid}).to_string();
            let header = URL_SAFE_NO_PAD.encode(header);
            for signature in ["", "AAAA"] {
                assert!(
                    !accepted(&ring, &format!("{header}.{body}.{signature}")),
                    "{alg}"
                );
            }
        }
        // The public key as the secret of an HMAC.
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(kid);
        let token = encode(&header, &claims(), &EncodingKey::from_secret(b"x")).unwrap();
        assert!(!accepted(&ring, &token));
    }
}
