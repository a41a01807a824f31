//! The OpenID provider whose tokens are taken.
#![expect(
    clippy::doc_markdown,
    reason = "what describes a setting is also what --help prints, where nobody wants backticks"
)]

use std::path::PathBuf;

use clap::Args;
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use reqwest::Url;

use super::BadSetting;

/// The OpenID provider whose tokens are taken, if there is one.
#[derive(Debug, Clone, Args)]
pub struct OpenIdConfig {
    /// The provider whose access tokens are taken, exactly as its discovery document names it; nobody signs in here then
    #[arg(
        id = "openid_issuer",
        long = "openid-issuer",
        env = "WARREN_OPENID_ISSUER"
    )]
    issuer: Option<String>,
    /// Whom its tokens must be for: one of these, separated by commas
    #[arg(
        id = "openid_audience",
        long = "openid-audience",
        env = "WARREN_OPENID_AUDIENCE",
        value_delimiter = ','
    )]
    pub audiences: Vec<String>,
    /// The claim that says whose token it is; it must name the same person for ever
    #[arg(
        id = "openid_subject_claim",
        long = "openid-subject-claim",
        env = "WARREN_OPENID_SUBJECT_CLAIM",
        default_value = "sub"
    )]
    pub subject_claim: String,
    /// The claim with the groups or roles; dots lead into objects, as in realm_access.roles
    #[arg(
        id = "openid_groups_claim",
        long = "openid-groups-claim",
        env = "WARREN_OPENID_GROUPS_CLAIM",
        default_value = "groups"
    )]
    pub groups_claim: String,
    /// Algorithms that tokens may be signed with, separated by commas
    #[arg(
        id = "openid_algorithms",
        long = "openid-algorithms",
        env = "WARREN_OPENID_ALGORITHMS",
        default_value = "RS256,RS384,RS512,PS256,PS384,PS512,ES256,ES384,EdDSA",
        value_delimiter = ',',
        value_parser = algorithm
    )]
    pub algorithms: Vec<Algorithm>,
    /// File of further certificate authorities that the provider's certificate may come from, in PEM
    #[arg(id = "openid_ca", long = "openid-ca", env = "WARREN_OPENID_CA")]
    pub ca: Option<PathBuf>,
}

impl OpenIdConfig {
    /// The provider, if there is one.
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref().filter(|issuer| !issuer.is_empty())
    }

    /// Refuses what clap cannot judge.
    pub(super) fn validate(&self) -> Result<(), BadSetting> {
        let Some(issuer) = self.issuer() else {
            return if self.audiences.iter().all(String::is_empty) {
                Ok(())
            } else {
                Err(BadSetting::new(
                    "WARREN_OPENID_ISSUER",
                    "must be set where WARREN_OPENID_AUDIENCE is",
                ))
            };
        };
        judge_issuer(issuer).map_err(|problem| BadSetting::new("WARREN_OPENID_ISSUER", problem))?;
        let is_empty = |text: &String| text.is_empty();
        if self.audiences.is_empty() || self.audiences.iter().any(is_empty) {
            return Err(BadSetting::new(
                "WARREN_OPENID_AUDIENCE",
                "must name whom tokens are for: without it, tokens for other programs would be taken",
            ));
        }
        if self.subject_claim.is_empty() {
            return Err(BadSetting::new(
                "WARREN_OPENID_SUBJECT_CLAIM",
                "must not be empty",
            ));
        }
        if self.groups_claim.split('.').any(str::is_empty) {
            return Err(BadSetting::new(
                "WARREN_OPENID_GROUPS_CLAIM",
                "must be names with a dot between them, such as groups or realm_access.roles",
            ));
        }
        Ok(())
    }
}

fn judge_issuer(issuer: &str) -> Result<(), &'static str> {
    let url = Url::parse(issuer).map_err(|_error| "must be a URL such as https://login.example")?;
    if !is_https_or_loopback(&url) {
        return Err("must be an https URL; http is for this machine only");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user or a password");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must have neither ? nor #");
    }
    Ok(())
}

/// True when nobody on the way can read or change what this URL brings.
pub(crate) fn is_https_or_loopback(url: &Url) -> bool {
    match (url.scheme(), url.host_str()) {
        ("https", Some(_host)) => true,
        ("http", Some("localhost")) => true,
        ("http", Some(host)) => {
            let address = host.trim_matches(['[', ']']).parse();
            address.is_ok_and(|address: std::net::IpAddr| address.is_loopback())
        }
        _ => false,
    }
}

/// Reads an algorithm whose verifying key is no secret.
fn algorithm(name: &str) -> Result<Algorithm, String> {
    let known: Option<Algorithm> = name.parse().ok();
    known
        .filter(|algorithm| algorithm.family() != AlgorithmFamily::Hmac)
        .ok_or_else(|| {
            format!(
                "WARREN_OPENID_ALGORITHMS takes RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and EdDSA, not {name:?}"
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Command, FromArgMatches};

    fn parsed(arguments: &[&str]) -> Result<OpenIdConfig, clap::Error> {
        let arguments = ["warren-api"].iter().chain(arguments);
        let matches = OpenIdConfig::augment_args(Command::new("warren-api"))
            .try_get_matches_from(arguments)?;
        OpenIdConfig::from_arg_matches(&matches)
    }

    #[test]
    fn without_an_issuer_there_is_nothing_to_judge() {
        assert_eq!(parsed(&[]).unwrap().validate(), Ok(()));
        let empty = ["--openid-issuer=", "--openid-audience="];
        assert_eq!(parsed(&empty).unwrap().validate(), Ok(()));
    }

    #[test]
    fn good_settings_are_taken() {
        for issuer in [
            "https://login.example/tenant/v2.0",
            "http://127.0.0.1:3000",
            "http://[::1]:3000/",
            "http://localhost:3000",
        ] {
            let issuer = format!("--openid-issuer={issuer}");
            let config = parsed(&[&issuer, "--openid-audience=api://warren,warren"]).unwrap();
            assert_eq!(config.validate(), Ok(()));
            assert_eq!(config.audiences, ["api://warren", "warren"]);
        }
    }

    #[test]
    fn a_wrong_value_names_its_variable() {
        let issuer = "--openid-issuer=https://login.example";
        let audience = "--openid-audience=warren";
        for (arguments, variable) in [
            (vec![audience], "WARREN_OPENID_ISSUER"),
            (vec![issuer], "WARREN_OPENID_AUDIENCE"),
            (
                vec![issuer, "--openid-audience=warren,"],
                "WARREN_OPENID_AUDIENCE",
            ),
            (
                vec!["--openid-issuer=login.example", audience],
                "WARREN_OPENID_ISSUER",
            ),
            (
                vec!["--openid-issuer=http://login.example", audience],
                "WARREN_OPENID_ISSUER",
            ),
            (
                vec!["--openid-issuer=http://127.0.0.1.example", audience],
                "WARREN_OPENID_ISSUER",
            ),
            (
                vec!["--openid-issuer=https://a:b@login.example", audience],
                "WARREN_OPENID_ISSUER",
            ),
            (
                vec!["--openid-issuer=https://login.example?a=b", audience],
                "WARREN_OPENID_ISSUER",
            ),
            (
                vec![issuer, audience, "--openid-subject-claim="],
                "WARREN_OPENID_SUBJECT_CLAIM",
            ),
            (
                vec![issuer, audience, "--openid-groups-claim=a..b"],
                "WARREN_OPENID_GROUPS_CLAIM",
            ),
        ] {
            let problem = parsed(&arguments).unwrap().validate().unwrap_err();
            assert!(problem.to_string().starts_with(variable), "{problem}");
        }
    }

    #[test]
    fn algorithms_with_a_shared_secret_are_refused() {
        for name in ["HS256", "none", "", "rs256"] {
            let argument = format!("--openid-algorithms=RS256,{name}");
            let problem = parsed(&[&argument]).unwrap_err().to_string();
            assert!(problem.contains("WARREN_OPENID_ALGORITHMS"), "{problem}");
        }
        let config = parsed(&["--openid-algorithms=ES256,PS256"]).unwrap();
        assert_eq!(config.algorithms, [Algorithm::ES256, Algorithm::PS256]);
    }
}
