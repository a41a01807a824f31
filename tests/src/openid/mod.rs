//! OpenID providers: a real one as a process of its own, and one that says whatever a test wants.

mod impostor;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

pub use impostor::{Impostor, Reply};

use crate::postgres::setting;
use crate::process::Process;
use crate::wait;

/// Whom tokens are for that a test asks for without saying so.
pub const AUDIENCE: &str = "api://warren";
/// The program that asks the provider for tokens.
pub const CLIENT: &str = "some-program";
const CERTIFICATE: &str = "cert.pem";
const SECRET: &str = "some-secret";

/// How the signature of a forged token comes about. The provider's public key is known to everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// As the provider does it, for what it would not sign.
    Provider,
    /// Not at all.
    None,
    /// As an HMAC with the public key as its secret.
    PublicKey,
    /// With a key of the forger's own.
    Stranger,
}

/// A running provider, `tests/openid/provider.mjs`.
pub struct OpenIdProvider {
    issuer: String,
    http: reqwest::Client,
    process: Process,
    dir: TempDir,
}

impl OpenIdProvider {
    /// Starts one on a free port of loopback.
    ///
    /// # Panics
    ///
    /// When it does not start; `./dev test` installs what it needs.
    pub async fn start() -> Self {
        Self::start_in(TempDir::new().expect("a folder can be made"), false).await
    }

    /// The same over TLS, with a certificate that [`OpenIdProvider::certificate`] alone vouches for.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn start_over_tls() -> Self {
        let dir = TempDir::new().expect("a folder can be made");
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])
            .expect("a certificate can be made");
        for (name, pem) in [
            (CERTIFICATE, made.cert.pem()),
            ("key.pem", made.signing_key.serialize_pem()),
        ] {
            std::fs::write(dir.path().join(name), pem).expect("a file can be written");
        }
        Self::start_in(dir, true).await
    }

    async fn start_in(dir: TempDir, tls: bool) -> Self {
        let log = dir.path().join("provider.log");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/openid/provider.mjs");
        let packages = setting("WARREN_TEST_OPENID");
        let mut arguments = vec![script, &packages];
        let folder = dir.path().to_string_lossy();
        if tls {
            arguments.push(&folder);
        }
        let mut process = Process::start("provider", Path::new("node"), &arguments, &[], &log);
        let issuer = wait::until("the OpenID provider is ready", async || {
            let text = process.log_text();
            assert!(process.is_running(), "the provider ended:\n{text}");
            let ready = text
                .lines()
                .find_map(|line| line.strip_prefix("ready at "))?;
            Some(ready.to_owned())
        })
        .await;
        Self {
            issuer,
            http: client(tls.then(|| dir.path().join(CERTIFICATE)).as_deref()),
            process,
            dir,
        }
    }

    /// The file with its certificate, when it has one.
    pub fn certificate(&self) -> PathBuf {
        self.dir.path().join(CERTIFICATE)
    }

    /// What it calls itself.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// An access token for [`AUDIENCE`] of somebody, who is in these groups.
    pub async fn token(&self, subject: &str, groups: &[&str]) -> String {
        self.token_with(subject, &json!({ "groups": groups }), &json!({}))
            .await
    }

    /// The same with any claims and members of the header in the place of its own: the provider signs what it is told.
    ///
    /// # Panics
    ///
    /// When none comes.
    pub async fn token_with(&self, subject: &str, claims: &Value, header: &Value) -> String {
        let tokens = self.tokens(subject, claims, header).await;
        text(&tokens, "access_token")
    }

    /// The ID token beside an access token, for [`CLIENT`].
    ///
    /// # Panics
    ///
    /// When none comes.
    pub async fn id_token(&self, subject: &str) -> String {
        let tokens = self.tokens(subject, &json!({}), &json!({})).await;
        text(&tokens, "id_token")
    }

    async fn tokens(&self, subject: &str, claims: &Value, header: &Value) -> Value {
        let url = reqwest::Url::parse_with_params(
            "http://form",
            &[
                ("grant_type", "urn:warren:tests:for-somebody"),
                ("resource", AUDIENCE),
                ("subject", subject),
                ("claims", &claims.to_string()),
                ("header", &header.to_string()),
            ],
        );
        let form = url.expect("a form can be written");
        let request = self
            .http
            .post(format!("{}/token", self.issuer))
            .basic_auth(CLIENT, Some(SECRET))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(form.query().unwrap_or_default().to_owned());
        answer(request).await
    }

    /// A token that claims to be the provider's, and is not.
    ///
    /// # Panics
    ///
    /// When none comes.
    pub async fn forge(&self, signature: Signature, header: &Value, claims: &Value) -> String {
        let signature = match signature {
            Signature::Provider => "provider",
            Signature::None => "none",
            Signature::PublicKey => "publicKey",
            Signature::Stranger => "stranger",
        };
        let wanted = json!({"signature": signature, "header": header, "claims": claims});
        text(&self.control("forge", &wanted).await, "token")
    }

    /// Signs with a new key from now on, of this algorithm; those before are forgotten unless `keep`.
    pub async fn rotate(&self, algorithm: &str, keep: bool) {
        self.control("rotate", &json!({"alg": algorithm, "keep": keep}))
            .await;
    }

    /// How often its keys were read.
    ///
    /// # Panics
    ///
    /// When it does not say.
    pub async fn key_reads(&self) -> u64 {
        let answer = self.control("key-reads", &json!({})).await;
        answer["keyReads"].as_u64().expect("a number")
    }

    async fn control(&self, action: &str, wanted: &Value) -> Value {
        let place = format!("{}/control/{action}", self.issuer);
        answer(self.http.post(place).json(wanted)).await
    }

    /// Ends it.
    pub async fn stop(&mut self) {
        self.process.kill().await;
    }
}

fn client(certificate: Option<&Path>) -> reqwest::Client {
    let mut builder = reqwest::Client::builder();
    if let Some(path) = certificate {
        let pem = std::fs::read(path).expect("the certificate can be read");
        let certificate = reqwest::Certificate::from_pem(&pem).expect("it is a certificate");
        builder = builder.tls_certs_only([certificate]);
    }
    builder.build().expect("a client can be built")
}

async fn answer(request: reqwest::RequestBuilder) -> Value {
    let response = request.send().await.expect("the provider answers");
    let status = response.status();
    let body = response.text().await.expect("all of the answer comes");
    assert!(status.is_success(), "{status}: {body}");
    serde_json::from_str(&body).expect("the provider answers with JSON")
}

fn text(answer: &Value, member: &str) -> String {
    let text = answer[member].as_str();
    text.unwrap_or_else(|| panic!("no {member}: {answer}"))
        .to_owned()
}
