//! Whose a token is, and what that may do.

use std::net::SocketAddr;

use serde_json::json;
use warren_tests::audit::records_by;
use warren_tests::openid::OpenIdProvider;
use warren_tests::{Client, wait};

use super::{caller, house_of, shown};
use crate::docs::pages::try_blocks;

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
    assert_eq!(
        records_by(&house, &format!("(openid:{})", provider.issuer()), 3).await,
        [
            "add_user ana as owner",
            "change_user ana: role contributor",
            "change_user ana: role reader",
        ]
    );
    // Whoever has no role is refused by name: three times, and whoever may do less than all once or twice.
    assert_eq!(records_by(&house, "ana", 11).await.len(), 11);
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

#[tokio::test]
async fn whoever_an_operator_disabled_is_refused() {
    let provider = OpenIdProvider::start().await;
    let house = house_of(provider.issuer()).workers(0).apis(2).build().await;
    let nodes: Vec<SocketAddr> = house.apis.iter().map(|api| api.addr).collect();
    let ana = caller(&house, &provider.token("ana", &[]).await);
    for node in &nodes {
        ana.at(*node).get("/sessions").await.expect(200);
    }
    let source = format!("openid:{}", provider.issuer());
    let becomes = async |status: u16| {
        for node in &nodes {
            wait::until("the node has heard of it", async || {
                let answer = ana.at(*node).get("/sessions").await;
                (answer.status == status).then_some(())
            })
            .await;
        }
    };
    let disable = ["users", "disable", "ana", "--source", &source];
    house.administer(&disable, "").await;
    becomes(403).await;
    // A new token is no way around it.
    let again = provider.token("ana", &[]).await;
    shown(&house, &again).await.error(403);
    let enable = ["users", "enable", "ana", "--source", &source];
    house.administer(&enable, "").await;
    becomes(200).await;
    shown(&house, &again).await.expect(200);
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

/// What `docs/SIGNING-IN.md` tells to do, as it stands there.
#[tokio::test]
async fn the_example_of_the_page_is_as_it_says() {
    let page = include_str!("../../../docs/SIGNING-IN.md");
    let example = page.split_once("### A worked example").unwrap().1;
    let example = example.split("\n### ").next().unwrap();
    let provider = OpenIdProvider::start().await;
    let house = house_of(provider.issuer()).workers(0).build().await;
    let example = example
        .replace("https://login.example", provider.issuer())
        .replace(
            "http://localhost:12800",
            &format!("http://{}", house.apis[0].addr),
        );
    try_blocks("SIGNING-IN.md", &example, &["sh"], house.dir()).await;
}
