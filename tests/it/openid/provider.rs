//! Providers whose keys change, that are away, or that are none; and settings that name none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures::future::join_all;
use serde_json::json;
use warren_tests::openid::{AUDIENCE, Impostor, OpenIdProvider, Reply, Signature};
use warren_tests::{Builder, Client};

use super::{caller, house_of, now, shown};

#[tokio::test]
async fn keys_change_at_the_provider_without_a_restart() {
    let provider = OpenIdProvider::start().await;
    let house = house_of(provider.issuer()).workers(0).build().await;
    let first = provider.token("ana", &[]).await;
    shown(&house, &first).await.expect(200);
    provider.rotate("ES256", true).await;
    let second = provider.token("ana", &[]).await;
    shown(&house, &second).await.expect(200);
    shown(&house, &first).await.expect(200);
    // What was verified is forgotten with the keys that are gone.
    provider.rotate("PS256", false).await;
    let third = provider.token("ana", &[]).await;
    shown(&house, &third).await.expect(200);
    for gone in [first, second] {
        shown(&house, &gone).await.error(401);
    }
}

#[tokio::test]
async fn unknown_keys_do_not_make_a_storm_at_the_provider() {
    let provider = OpenIdProvider::start().await;
    let house = house_of(provider.issuer()).workers(0).build().await;
    let good = provider.token("ana", &[]).await;
    shown(&house, &good).await.expect(200);
    let claims =
        json!({"iss": provider.issuer(), "aud": AUDIENCE, "sub": "ana", "exp": now() + 600});
    let forged = (0..100).map(async |number| {
        let header = json!({ "kid": format!("unknown-{number}") });
        provider.forge(Signature::None, &header, &claims).await
    });
    let forged = join_all(forged).await;
    let (reads, began) = (provider.key_reads().await, Instant::now());
    let answers = join_all(forged.iter().map(|token| shown(&house, token)));
    for answer in answers.await {
        answer.error(401);
    }
    // Three seconds lie between two of them, and those that come together share one.
    let reads = provider.key_reads().await - reads;
    let seconds = began.elapsed().as_secs();
    assert!(
        (1..=seconds / 3 + 2).contains(&reads),
        "{reads} in {seconds} s"
    );
    shown(&house, &good).await.expect(200);
}

#[tokio::test]
async fn a_provider_that_is_away_locks_out_nobody_whose_key_is_known() {
    let mut provider = OpenIdProvider::start().await;
    let mut house = house_of(provider.issuer()).workers(0).build().await;
    let shown_before = provider.token("ana", &[]).await;
    let new = provider.token("bob", &[]).await;
    let claims =
        json!({"iss": provider.issuer(), "aud": AUDIENCE, "sub": "ana", "exp": now() + 600});
    let unknown = json!({"kid": "unknown"});
    let unknown = provider.forge(Signature::Stranger, &unknown, &claims).await;
    shown(&house, &shown_before).await.expect(200);
    provider.stop().await;
    shown(&house, &shown_before).await.expect(200);
    shown(&house, &new).await.expect(200);
    // It might be a new key.
    let problem = shown(&house, &unknown).await.error(503);
    assert!(problem.contains("OpenID provider"), "{problem}");

    // A node that starts now is ready for when it comes back.
    let late = house.add_api().await;
    let there = caller(&house, &new).at(house.apis[late].addr);
    let answer = there.get("/sessions").await;
    assert_eq!(answer.header("Retry-After"), "2");
    answer.error(503);
    assert!(
        house.apis[late]
            .process
            .log_text()
            .contains("does not answer")
    );
}

/// The discovery document of a provider whose keys are those of another.
fn discovery(issuer: &str, keys_at: &str) -> Reply {
    let document = json!({"issuer": issuer, "jwks_uri": keys_at});
    Reply::Now(200, document.to_string())
}

#[tokio::test]
async fn a_provider_that_comes_back_is_asked_again() {
    let provider = OpenIdProvider::start().await;
    let is_up = Arc::new(AtomicBool::new(false));
    let keys_at = format!("{}/jwks", provider.issuer());
    let broken = Arc::clone(&is_up);
    let front = Impostor::start(move |issuer, _path| {
        if broken.load(Ordering::SeqCst) {
            discovery(issuer, &keys_at)
        } else {
            Reply::Now(500, "broken".to_owned())
        }
    })
    .await;
    let house = house_of(front.issuer()).workers(0).build().await;
    let claims = json!({ "iss": front.issuer() });
    let token = provider.token_with("ana", &claims, &json!({})).await;
    shown(&house, &token).await.error(503);
    is_up.store(true, Ordering::SeqCst);
    shown(&house, &token).await.expect(200);
}

/// What is answered at an address.
type Answering = Box<dyn Fn(&str) -> Reply + Send + Sync>;

/// What a provider publishes is believed only where it must be right.
#[tokio::test]
async fn what_a_provider_publishes_is_bounded_and_must_be_its_own() {
    let provider = OpenIdProvider::start().await;
    let keys_at = format!("{}/jwks", provider.issuer());
    let discovery_at = format!("{}/.well-known/openid-configuration", provider.issuer());
    let other = provider.issuer().to_owned();
    let huge = json!({"issuer": "", "jwks_uri": "", "more": "x".repeat(1024 * 1024)}).to_string();
    let cases: Vec<(&str, Answering)> = vec![
        (
            "WARREN_OPENID_ISSUER must be exactly",
            Box::new(move |_issuer| discovery(&other, &keys_at)),
        ),
        (
            "no https URL",
            Box::new(|issuer| discovery(issuer, "http://192.0.2.1/jwks")),
        ),
        (
            "redirects are not followed",
            Box::new(move |_issuer| Reply::Elsewhere(discovery_at.clone())),
        ),
        (
            "more than 262144 bytes",
            Box::new(move |_issuer| Reply::Now(200, huge.clone())),
        ),
        (
            "something else than expected",
            Box::new(|_issuer| Reply::Now(200, "<html>".to_owned())),
        ),
        (
            "answers 404",
            Box::new(|_issuer| Reply::Now(404, String::new())),
        ),
        ("does not answer", Box::new(|_issuer| Reply::Never)),
    ];
    let mut house = Builder::new().workers(0).apis(0).build().await;
    let database = house.database.server;
    for (why, answer) in cases {
        let front = Impostor::start(move |issuer, _path| answer(issuer)).await;
        let settings = [
            ("WARREN_OPENID_ISSUER", front.issuer()),
            ("WARREN_OPENID_AUDIENCE", AUDIENCE),
        ];
        let node = house.add_api_via(database, &settings).await;
        let claims = json!({ "iss": front.issuer() });
        let token = provider.token_with("ana", &claims, &json!({})).await;
        let ana = Client::anonymous(house.apis[node].addr).with_token(&token);
        ana.get("/sessions").await.error(503);
        let log = house.apis[node].process.log_text();
        assert!(log.contains(why), "{why}: {log}");
        assert!(!log.contains(&token), "the token is in the log");
    }
}

#[tokio::test]
async fn settings_that_cannot_be_right_stop_the_start() {
    let house = Builder::new().workers(0).apis(0).build().await;
    let issuer = "--openid-issuer=https://login.example";
    let audience = "--openid-audience=warren";
    for (arguments, variable) in [
        (vec![issuer], "WARREN_OPENID_AUDIENCE"),
        (vec![audience], "WARREN_OPENID_ISSUER"),
        (
            vec!["--openid-issuer=http://login.example", audience],
            "WARREN_OPENID_ISSUER",
        ),
        (
            vec![issuer, audience, "--openid-algorithms=RS256,HS256"],
            "WARREN_OPENID_ALGORITHMS",
        ),
        (
            vec![
                issuer,
                audience,
                "--ldap-url=ldaps://directory.example",
                "--ldap-base=dc=example",
            ],
            "WARREN_LDAP_URL",
        ),
        (
            vec![issuer, audience, "--openid-ca=/nowhere/ca.pem"],
            "WARREN_OPENID_CA",
        ),
        (
            vec![issuer, audience, "--openid-ca=/dev/null"],
            "WARREN_OPENID_CA",
        ),
    ] {
        let arguments: Vec<&str> = ["serve", "--listen=127.0.0.1:0"]
            .into_iter()
            .chain(arguments)
            .collect();
        let ended = house.try_administer(&arguments, "").await;
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(!ended.status.success(), "{arguments:?}");
        assert!(said.contains(variable), "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn a_provider_over_tls_needs_a_certificate_that_is_trusted() {
    let provider = OpenIdProvider::start_over_tls().await;
    let mut house = house_of(provider.issuer()).workers(0).build().await;
    let token = provider.token("ana", &[]).await;
    shown(&house, &token).await.error(503);
    let certificate = provider.certificate();
    let settings = [("WARREN_OPENID_CA", certificate.to_str().unwrap())];
    let node = house.add_api_via(house.database.server, &settings).await;
    let ana = caller(&house, &token).at(house.apis[node].addr);
    ana.get("/sessions").await.expect(200);
}
