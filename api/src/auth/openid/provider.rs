//! Access tokens of an OpenID provider: whether one counts, and whose it is.

use chrono::Utc;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};

use super::claims::{Claims, Overage};
use super::fetch::{ClientError, Fetcher};
use super::keys::{Keys, Missing};
use crate::audit::{Notes, Who};
use crate::auth::identity::Identity;
use crate::config::OpenIdConfig;
use crate::error::ApiError;

/// Longest token, in bytes.
const LONGEST_TOKEN: usize = 16 * 1024;
/// How far the clocks of provider and node may differ, in seconds.
const LEEWAY: u32 = 30;
/// What the header may call a token, in small letters; RFC 9068 has the longer names.
const TYPES: [&str; 3] = ["jwt", "at+jwt", "application/at+jwt"];

/// Why a token does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It is no signed JWT, is too long, or demands what is not understood.
    Malformed,
    /// Its algorithm is none that may be used.
    Algorithm,
    /// The header calls it something else than an access token, or its claims do.
    Kind,
    /// Somebody else issued it.
    Issuer,
    /// No key of the provider verifies it.
    Signature,
    /// It is for another program.
    Audience,
    /// It has expired.
    Expired,
    /// It is not valid yet.
    Early,
    /// The claim that says whose it is cannot be used.
    Subject,
}

/// Why it is not known whose token it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerifyError {
    /// The token does not count.
    Refused(Refused),
    /// The provider left the groups out, because there are too many.
    Overage,
    /// The keys that might verify it cannot be had.
    ProviderAway,
}

impl Refused {
    fn text(self) -> &'static str {
        match self {
            Self::Malformed => {
                "the token is no JWT that is signed with a public-key algorithm, or it is longer than 16 KiB"
            }
            Self::Algorithm => {
                "the token is signed in a way that is not taken here; see WARREN_OPENID_ALGORITHMS"
            }
            Self::Kind => "this is no access token; an ID token, for example, is none",
            Self::Issuer => {
                "the token was not issued by the provider that is used here (claim iss)"
            }
            Self::Signature => "no key of the OpenID provider verifies the token",
            Self::Audience => {
                "the token is for another program (claim aud); ask the provider for one for this"
            }
            Self::Expired => "the access token has expired; ask the provider for another",
            Self::Early => "the access token is not valid yet (claims nbf and iat)",
            Self::Subject => "the token does not say whose it is",
        }
    }
}

impl From<Refused> for VerifyError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<VerifyError> for ApiError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Refused(refused) => Self::Unauthorized(refused.text()),
            VerifyError::Overage => Self::Forbidden(
                "you are in more groups than the provider writes into a token; have it send roles, or the groups of this application only"
                    .to_owned(),
            ),
            VerifyError::ProviderAway => {
                Self::unavailable("the OpenID provider, whose key signed the token, cannot be reached")
            }
        }
    }
}

/// The provider whose tokens are taken.
pub struct Provider {
    issuer: String,
    keys: Keys,
    algorithms: Vec<Algorithm>,
    validation: Validation,
    subject_claim: String,
    groups_claim: String,
}

impl Provider {
    /// The provider of these settings, which were validated; none when there is none. It is not asked for anything yet.
    pub fn new(config: &OpenIdConfig) -> Result<Option<Self>, ClientError> {
        let Some(issuer) = config.issuer() else {
            return Ok(None);
        };
        Ok(Some(Self {
            issuer: issuer.to_owned(),
            keys: Keys::new(Fetcher::new(issuer, config)?),
            algorithms: config.algorithms.clone(),
            validation: validation(issuer, config),
            subject_claim: config.subject_claim.clone(),
            groups_claim: config.groups_claim.clone(),
        }))
    }

    /// What it calls itself.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// How often its keys have changed: what was verified before has to be verified again.
    pub fn key_changes(&self) -> u64 {
        self.keys.changes()
    }

    /// Keeps its keys current for as long as it is polled.
    pub async fn follow(&self) {
        self.keys.follow().await;
    }

    /// Whose token it is, and until when (Unix seconds). `notes` says whose also when only the signature counts.
    pub async fn verify(
        &self,
        token: &str,
        notes: &mut Notes<'_>,
    ) -> Result<(Identity, i64), VerifyError> {
        let header = self.header(token)?;
        // Nobody is asked for the keys of another issuer's tokens.
        let claimed = self.claimed(token)?;
        let key = self.keys.find(header.alg, header.kid.as_deref()).await;
        let key = key.map_err(|missing| match missing {
            Missing::Nowhere => VerifyError::Refused(Refused::Signature),
            Missing::ProviderAway => VerifyError::ProviderAway,
        })?;
        let claims = self.claims(token, &key, header.alg);
        // The library looks at the signature before anything that a token says.
        if !matches!(
            claims,
            Err(Refused::Malformed | Refused::Algorithm | Refused::Signature)
        ) {
            notes.who = claimed.subject(&self.subject_claim).map(|subject| Who {
                id: None,
                name: subject.to_owned(),
            });
        }
        self.identify(&claims?)
    }

    /// What a token says of itself, if such a token is taken at all.
    fn header(&self, token: &str) -> Result<Header, Refused> {
        if token.len() > LONGEST_TOKEN {
            return Err(Refused::Malformed);
        }
        // One with `none` has no header that the library can read.
        let header = jsonwebtoken::decode_header(token).map_err(|_error| Refused::Malformed)?;
        // RFC 7515, section 4.1.11: what must be understood and is not makes the token invalid.
        if header.crit.is_some() {
            return Err(Refused::Malformed);
        }
        if !self.algorithms.contains(&header.alg) {
            return Err(Refused::Algorithm);
        }
        let kind = header.typ.as_deref().map(str::to_ascii_lowercase);
        if kind.is_some_and(|kind| !TYPES.contains(&kind.as_str())) {
            return Err(Refused::Kind);
        }
        Ok(header)
    }

    /// What a token says that says that it is the provider's, neither of which anybody has checked at this point.
    fn claimed(&self, token: &str) -> Result<Claims, Refused> {
        let claims: Claims = jsonwebtoken::dangerous::insecure_decode_claims(token)
            .map_err(|_error| Refused::Malformed)?;
        if claims.iss == self.issuer {
            Ok(claims)
        } else {
            Err(Refused::Issuer)
        }
    }

    /// What a token says, if this key signed it and it is valid now, for us.
    fn claims(&self, token: &str, key: &Jwk, algorithm: Algorithm) -> Result<Claims, Refused> {
        let key = DecodingKey::from_jwk(key).map_err(|_error| Refused::Signature)?;
        let mut validation = self.validation.clone();
        validation.algorithms = vec![algorithm];
        let decoded = jsonwebtoken::decode::<Claims>(token, &key, &validation);
        let claims = decoded.map_err(|error| refusal(error.kind()))?.claims;
        let now = Utc::now().timestamp() + i64::from(LEEWAY);
        #[expect(
            clippy::cast_precision_loss,
            reason = "seconds since 1970 are far from 2^53"
        )]
        if claims.iat.is_some_and(|issued| issued > now as f64) {
            return Err(Refused::Early);
        }
        if claims.is_id_token() {
            return Err(Refused::Kind);
        }
        Ok(claims)
    }

    fn identify(&self, claims: &Claims) -> Result<(Identity, i64), VerifyError> {
        let subject = claims
            .subject(&self.subject_claim)
            .ok_or(Refused::Subject)?;
        let groups = claims.groups(&self.groups_claim);
        let identity = Identity {
            subject: subject.to_owned(),
            groups: groups.map_err(|Overage| VerifyError::Overage)?,
        };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it saturates, and fractions of a second do not matter"
        )]
        Ok((identity, claims.exp as i64))
    }
}

fn validation(issuer: &str, config: &OpenIdConfig) -> Validation {
    // The algorithm is replaced by that of the token, when it has been found to be one of those that are taken.
    let mut validation = Validation::new(Algorithm::RS256);
    validation.leeway = LEEWAY.into();
    validation.validate_nbf = true;
    validation.set_issuer(&[issuer]);
    validation.set_audience(&config.audiences);
    validation.set_required_spec_claims(&["exp", "aud", "iss"]);
    validation
}

fn refusal(problem: &ErrorKind) -> Refused {
    match problem {
        ErrorKind::InvalidIssuer => Refused::Issuer,
        ErrorKind::InvalidAudience => Refused::Audience,
        ErrorKind::ExpiredSignature => Refused::Expired,
        ErrorKind::ImmatureSignature => Refused::Early,
        ErrorKind::InvalidAlgorithm => Refused::Algorithm,
        ErrorKind::InvalidSignature => Refused::Signature,
        ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => Refused::Audience,
        _ => Refused::Malformed,
    }
}
