//! Tokens of an OpenID provider: a real one, and others in its place.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures::future::join_all;
use serde_json::{Value, json};
use warren_tests::openid::{AUDIENCE, CLIENT, Impostor, OpenIdProvider, Reply, Signature};
use warren_tests::{Answer, Builder, Client, House, wait};

/// A house that takes the tokens of whoever calls itself that, for [`AUDIENCE`] and for [`CLIENT`].
fn house_of(issuer: &str) -> Builder {
    Builder::new()
        .env("WARREN_OPENID_ISSUER", issuer)
        .env("WARREN_OPENID_AUDIENCE", &format!("{AUDIENCE},{CLIENT}"))
}

fn caller(house: &House, token: &str) -> Client {
    Client::anonymous(house.apis[0].addr).with_token(token)
}

async fn shown(house: &House, token: &str) -> Answer {
    caller(house, token).get("/sessions").await
}

fn now() -> i64 {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

#[tokio::test]
async fn whoever_the_provider_vouches_for_runs_code_and_sees_what_is_theirs() {
    let provider = OpenIdProvider::start().await;
    let house = house_of(provider.issuer()).apis(2).build().await;
    let ana = caller(&house, &provider.token("ana", &[]).await);
    let bob = caller(&house, &provider.token("bob", &[]).await);
    let session = ana.open_session().await;
    assert_eq!(session.prints("cat(6 * 7)").await, "42");
    bob.get(&session.path("/history")).await.error(404);
    assert_eq!(bob.get("/sessions").await.expect(200), json!([]));
    // With another token, at another node, it is the same ana.
    let again = caller(&house, &provider.token("ana", &[]).await).at(house.apis[1].addr);
    again.get(&session.path("/history")).await.expect(200);
    let known = "SELECT string_agg(source || ' ' || subject, ', ' ORDER BY subject)
                   FROM principals WHERE source <> 'local'";
    let issuer = provider.issuer();
    assert_eq!(
        house.sql_value(known).await,
        format!("openid:{issuer} ana, openid:{issuer} bob")
    );
}

#[tokio::test]
async fn a_token_costs_one_look_at_the_database() {
    let provider = OpenIdProvider::start().await;
    let house = house_of(provider.issuer()).workers(0).build().await;
    let ana = caller(&house, &provider.token("ana", &[]).await);
    ana.get("/sessions").await.expect(200);
    // A second look would write the role again.
    house
        .sql("UPDATE principals SET role = 'reader' WHERE subject = 'ana'")
        .await;
    ana.get("/sessions").await.expect(200);
    let role = "SELECT role FROM principals WHERE subject = 'ana'";
    assert_eq!(house.sql_value(role).await, "reader");
    let other = caller(&house, &provider.token("ana", &[]).await);
    other.get("/sessions").await.expect(200);
    assert_eq!(house.sql_value(role).await, "contributor");
}

#[tokio::test]
async fn groups_make_roles() {
    let provider = OpenIdProvider::start().await;
    let house = house_of(provider.issuer())
        .workers(0)
        .env("WARREN_OWNER_GROUPS", "admins")
        .env("WARREN_CONTRIBUTOR_GROUPS", "analysts")
        .env("WARREN_READER_GROUPS", "everybody")
        .build()
        .await;
    for (groups, looks, runs, manages) in [
        (vec!["everybody", "admins"], 200, 202, 200),
        (vec!["analysts"], 200, 202, 403),
        (vec!["everybody"], 200, 403, 403),
        (vec!["others"], 403, 403, 403),
        (vec![], 403, 403, 403),
    ] {
        let who = caller(&house, &provider.token("ana", &groups).await);
        let open = who.request(reqwest::Method::POST, "/sessions");
        let open = open.header("Prefer", "respond-async").json(&json!({}));
        who.get("/sessions").await.expect(looks);
        who.send(open).await.expect(runs);
        who.get("/users").await.expect(manages);
    }
}

#[tokio::test]
async fn subject_and_groups_come_from_the_claims_that_the_settings_name() {
    let provider = OpenIdProvider::start().await;
    let house = house_of(provider.issuer())
        .workers(0)
        .env("WARREN_OPENID_SUBJECT_CLAIM", "oid")
        .env("WARREN_OPENID_GROUPS_CLAIM", "realm_access.roles")
        .env("WARREN_OWNER_GROUPS", "admins")
        .build()
        .await;
    let claims = json!({"oid": "7f", "realm_access": {"roles": ["admins"]}});
    let token = provider.token_with("ana", &claims, &json!({})).await;
    caller(&house, &token).get("/users").await.expect(200);
    let subject = "SELECT subject FROM principals WHERE source <> 'local'";
    assert_eq!(house.sql_value(subject).await, "7f");
    // Without the claim nobody knows whose it is.
    let token = provider.token("ana", &["admins"]).await;
    shown(&house, &token).await.error(401);
}

#[tokio::test]
async fn groups_that_azure_leaves_out_are_not_taken_for_none() {
    let provider = OpenIdProvider::start().await;
    let house = house_of(provider.issuer()).workers(0).build().await;
    let claims = json!({"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {}}});
    let token = provider.token_with("ana", &claims, &json!({})).await;
    let problem = shown(&house, &token).await.error(403);
    assert!(problem.contains("more groups"), "{problem}");
}

/// Each is signed by the provider itself, which signs what it is told.
#[tokio::test]
async fn what_a_token_says_must_fit() {
    let provider = OpenIdProvider::start().await;
    let house = house_of(provider.issuer()).workers(0).build().await;
    let refused = async |claims: Value, header: Value, why: &str| {
        let token = provider.token_with("ana", &claims, &header).await;
        let answer = shown(&house, &token).await;
        assert_eq!(answer.header("WWW-Authenticate"), "Bearer");
        let problem = answer.error(401);
        assert!(problem.contains(why), "{claims} {header}: {problem}");
    };
    let nothing = || json!({});
    for audience in [json!("api://other"), json!(["api://other"]), json!([7])] {
        refused(json!({ "aud": audience }), nothing(), "").await;
    }
    refused(json!({"aud": "api://other"}), nothing(), "aud").await;
    refused(json!({"iss": "https://login.example"}), nothing(), "iss").await;
    let both = json!([provider.issuer(), "https://login.example"]);
    refused(json!({ "iss": both }), nothing(), "").await;
    refused(json!({"exp": now() - 120}), nothing(), "expired").await;
    for never in [json!(null), json!("soon"), json!(-1)] {
        refused(json!({ "exp": never }), nothing(), "").await;
    }
    refused(json!({"nbf": now() + 120}), nothing(), "not valid yet").await;
    refused(json!({"iat": now() + 120}), nothing(), "not valid yet").await;
    refused(json!({"nbf": "soon"}), nothing(), "").await;
    for subject in [json!(""), json!(7), json!("a\u{0}b")] {
        refused(json!({ "sub": subject }), nothing(), "whose").await;
    }
    refused(nothing(), json!({"typ": "logout+jwt"}), "no access token").await;
    refused(json!({"nonce": "x"}), nothing(), "no access token").await;
    refused(json!({"more": "x".repeat(16 * 1024)}), nothing(), "16 KiB").await;

    for (claims, header) in [
        (nothing(), json!({"typ": "JWT"})),
        (json!({"aud": ["api://other", AUDIENCE]}), nothing()),
        (json!({ "aud": CLIENT }), nothing()),
        (json!({"exp": now() + 60, "nbf": now() + 5}), nothing()),
    ] {
        let token = provider.token_with("ana", &claims, &header).await;
        shown(&house, &token).await.expect(200);
    }
}

#[tokio::test]
async fn an_id_token_is_no_access_token() {
    let provider = OpenIdProvider::start().await;
    // It is even for an audience that is taken.
    let house = house_of(provider.issuer()).workers(0).build().await;
    let token = provider.id_token("ana").await;
    let problem = shown(&house, &token).await.error(401);
    assert!(problem.contains("ID token"), "{problem}");
}

#[tokio::test]
async fn forged_tokens_are_refused() {
    let provider = OpenIdProvider::start().await;
    let house = house_of(provider.issuer()).workers(0).build().await;
    let claims = json!({
        "iss": provider.issuer(), "aud": AUDIENCE, "sub": "ana", "iat": now(), "exp": now() + 600
    });
    let unknown = json!({"kid": "unknown"});
    let critical = json!({"crit": ["exp"]});
    for (signature, header) in [
        (Signature::None, json!({"alg": "none"})),
        (Signature::None, json!({"alg": "NONE"})),
        (Signature::None, json!({})),
        (Signature::PublicKey, json!({"alg": "HS256"})),
        (Signature::PublicKey, json!({"alg": "RS256"})),
        (Signature::PublicKey, json!({"alg": "ES256"})),
        (Signature::Stranger, json!({})),
        (Signature::Stranger, json!({"alg": "PS256"})),
        (Signature::Stranger, unknown),
        (Signature::Stranger, json!({"kid": null})),
        (Signature::Stranger, critical.clone()),
    ] {
        let token = provider.forge(signature, &header, &claims).await;
        shown(&house, &token).await.error(401);
    }
    // Also under a good signature, and under that of a key that the token brings along.
    let token = provider.token_with("ana", &json!({}), &critical).await;
    shown(&house, &token).await.error(401);
    let own =
        json!({"jwk": {"kty": "RSA", "n": "AQAB", "e": "AQAB"}, "jku": "http://127.0.0.1:1/"});
    let token = provider.forge(Signature::Stranger, &own, &claims).await;
    shown(&house, &token).await.error(401);
    for nonsense in ["", "nonsense", "a.b.c", "e30.e30.", &"x".repeat(20_000)] {
        shown(&house, nonsense).await.error(401);
    }
}

#[tokio::test]
async fn warren_and_the_provider_do_not_take_each_other_for_themselves() {
    let provider = OpenIdProvider::start().await;
    let mut house = Builder::new().workers(0).build().await;
    let settings = [
        ("WARREN_OPENID_ISSUER", provider.issuer()),
        ("WARREN_OPENID_AUDIENCE", "warren"),
    ];
    let database = house.database.server;
    let openid = house.add_api_via(database, &settings).await;
    let there = house.apis[openid].addr;
    house
        .admin()
        .await
        .at(there)
        .get("/sessions")
        .await
        .error(401);
    let token = provider.token_with("ana", &json!({"aud": "warren"}), &json!({}));
    let ana = caller(&house, &token.await);
    ana.at(there).get("/sessions").await.expect(200);
    ana.get("/sessions").await.error(401);
}

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

/// What a provider publishes is believed only where it must be right.
#[tokio::test]
async fn what_a_provider_publishes_is_bounded_and_must_be_its_own() {
    let provider = OpenIdProvider::start().await;
    let keys_at = format!("{}/jwks", provider.issuer());
    let discovery_at = format!("{}/.well-known/openid-configuration", provider.issuer());
    let other = provider.issuer().to_owned();
    let huge = json!({"issuer": "", "jwks_uri": "", "more": "x".repeat(1024 * 1024)}).to_string();
    type Answering = Box<dyn Fn(&str) -> Reply + Send + Sync>;
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
async fn nobody_signs_in_here_while_a_provider_does_it() {
    let provider = OpenIdProvider::start().await;
    let house = house_of(provider.issuer()).workers(0).build().await;
    let anyone = Client::anonymous(house.apis[0].addr);
    let login = json!({"username": "admin", "password": warren_tests::house::PASSWORD});
    let renewal = json!({"refreshToken": "x"});
    let answers = [
        anyone.post("/login", &login).await,
        anyone.post("/login", &json!({})).await,
        anyone.post("/login/refreshToken", &renewal).await,
        anyone.delete("/login/refreshToken?refreshToken=x").await,
        anyone.delete("/login/refreshToken/x").await,
    ];
    for answer in answers {
        let problem = answer.error(400);
        assert!(problem.contains(provider.issuer()), "{problem}");
    }
}

#[tokio::test]
async fn whoever_an_operator_disabled_is_refused() {
    let provider = OpenIdProvider::start().await;
    let house = house_of(provider.issuer()).workers(0).apis(2).build().await;
    let nodes: Vec<SocketAddr> = house.apis.iter().map(|api| api.addr).collect();
    let ana = caller(&house, &provider.token("ana", &[]).await);
    for node in &nodes {
        ana.at(*node).get("/sessions").await.expect(200);
    }
    let change = |to: &str| {
        format!(
            "UPDATE principals SET disabled_at = {to}, revision = revision + 1, changed = pg_current_xact_id()
              WHERE subject = 'ana'"
        )
    };
    let becomes = async |status: u16| {
        for node in &nodes {
            wait::until("the node has heard of it", async || {
                let answer = ana.at(*node).get("/sessions").await;
                (answer.status == status).then_some(())
            })
            .await;
        }
    };
    house.sql(&change("now()")).await;
    becomes(403).await;
    // A new token is no way around it.
    let again = provider.token("ana", &[]).await;
    shown(&house, &again).await.error(403);
    house.sql(&change("NULL")).await;
    becomes(200).await;
    shown(&house, &again).await.expect(200);
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
            vec![issuer, audience, "--openid-ca=/nowhere/ca.pem"],
            "WARREN_OPENID_CA",
        ),
        (
            vec![issuer, audience, "--openid-ca=/dev/null"],
            "WARREN_OPENID_CA",
        ),
    ] {
        let arguments: Vec<&str> = ["serve"].into_iter().chain(arguments).collect();
        let ended = house.try_administer(&arguments, "").await;
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(!ended.status.success(), "{arguments:?}");
        assert!(said.contains(variable), "{arguments:?}: {said}");
    }
}
