//! Tokens that do not count.

use serde_json::{Value, json};
use warren_tests::openid::{AUDIENCE, CLIENT, OpenIdProvider, Signature};
use warren_tests::{Builder, wait};

use super::{caller, house_of, now, shown};

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

    // A signature that counts says whose token it was, whatever else is wrong with it.
    let names = "SELECT count(*) FILTER (WHERE name = 'ana') || ' ' || count(*) FILTER (WHERE name IS NULL) FROM audit";
    wait::until("the refusals are recorded", async || {
        (house.sql_value(names).await == "8 11").then_some(())
    })
    .await;

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
    let token = provider
        .forge(Signature::Provider, &critical, &claims)
        .await;
    shown(&house, &token).await.error(401);
    let token = provider
        .forge(Signature::Provider, &json!({}), &claims)
        .await;
    shown(&house, &token).await.expect(200);
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
    let token = provider
        .token_with("ana", &json!({"aud": "warren"}), &json!({}))
        .await;
    let ana = caller(&house, &token);
    ana.at(there).get("/sessions").await.expect(200);
    ana.get("/sessions").await.error(401);
}
