//! Signing in and out, renewing, and tokens that are none.

use std::net::SocketAddr;

use serde_json::{Value, json};
use warren_tests::audit::records_by;
use warren_tests::client::{Answer, Client};
use warren_tests::house::PASSWORD;
use warren_tests::{Builder, House, wait};

use crate::readers;

#[tokio::test]
async fn signing_in_answers_as_the_contract_says() {
    let house = House::build().await;
    let client = Client::anonymous(house.apis[0].addr);
    let tokens = client
        .post(
            "/login",
            &json!({"username": "admin", "password": PASSWORD}),
        )
        .await
        .expect(200);
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!(tokens["expires_in"], 3600);
    assert!(
        tokens["expires_on"]
            .as_str()
            .unwrap()
            .parse::<u64>()
            .is_ok(),
        "{tokens}"
    );
    assert!(
        !tokens["refresh_token"]
            .as_str()
            .unwrap()
            .contains(['/', '+', '='])
    );
    let wrong = client
        .post("/login", &json!({"username": "admin", "password": "wrong"}))
        .await
        .error(401);
    let nobody = client
        .post(
            "/login",
            &json!({"username": "nobody", "password": "wrong"}),
        )
        .await
        .error(401);
    assert_eq!(wrong, nobody);
    client
        .post("/login", &json!({"username": "admin"}))
        .await
        .error(400);
}

#[tokio::test]
async fn a_token_of_one_node_is_good_at_another() {
    let house = Builder::new().apis(2).build().await;
    let client = house.admin_at(0).await;
    let session = client.open_session().await;
    let elsewhere = client.at(house.apis[1].addr);
    let history = elsewhere.get(&session.path("/history")).await.expect(200);
    assert_eq!(history, json!([]));
}

#[tokio::test]
async fn tokens_that_are_none_are_refused() {
    let mut house = House::build().await;
    let good = house.admin().await;
    let refused = async |token: &str| {
        let answer = good.with_token(token).get("/sessions").await;
        assert!(answer.header("WWW-Authenticate").starts_with("Bearer"));
        answer.error(401);
    };
    good.get("/sessions").await.expect(200);
    Client::anonymous(house.apis[0].addr)
        .get("/sessions")
        .await
        .error(401);
    refused("").await;
    refused("nonsense").await;
    let parts: Vec<&str> = good.token().split('.').collect();
    let [header, claims, signature] = parts[..] else {
        panic!("no JWT")
    };
    // The last character holds padding bits: change the first.
    let other = if signature.starts_with('A') { 'B' } else { 'A' };
    refused(&format!("{header}.{claims}.{other}{}", &signature[1..])).await;
    refused(&format!(
        "{header}.{}.{signature}",
        with(claims, "name", "root")
    ))
    .await;
    let none = with(&with(header, "alg", "none"), "typ", "JWT");
    refused(&format!("{none}.{claims}.")).await;
    refused(&format!("{none}.{claims}.{signature}")).await;
    refused(&format!(
        "{}.{claims}.{signature}",
        with(header, "alg", "HS256")
    ))
    .await;
    refused(&format!(
        "{}.{claims}.{signature}",
        with(header, "kid", "other")
    ))
    .await;

    let short = house
        .add_api_via(house.database.server, &[("WARREN_TOKEN_SECONDS", "1")])
        .await;
    let expiring = house.admin_at(short).await;
    wait::until("the token is expired", async || {
        let answer = expiring.get("/sessions").await;
        (answer.status == 401).then_some(())
    })
    .await;
}

#[tokio::test]
async fn checking_a_token_is_timed_whatever_comes_of_it_and_nothing_else_is() {
    let (house, metrics) = readers::house(&[]).await;
    let count = async || readers::metric(&metrics, "warren_authentication_seconds_count").await;
    let admin = house.admin().await;
    admin.get("/health/ready").await.expect(200);
    assert_eq!(count().await, 0);
    admin.get("/sessions").await.expect(200);
    assert_eq!(count().await, 1);
    let anyone = Client::anonymous(house.apis[0].addr);
    anyone.get("/sessions").await.error(401);
    anyone
        .with_token("nonsense")
        .get("/sessions")
        .await
        .error(401);
    assert_eq!(count().await, 3);
    let reader = house.user_as("ana", "reader").await;
    reader.post("/sessions", &json!({})).await.error(403);
    assert_eq!(count().await, 4);
}

/// What a sign-in gave.
#[derive(Clone)]
struct Pair {
    access: Client,
    refresh: String,
}

impl Pair {
    fn of(client: &Client, tokens: &Value) -> Self {
        Self {
            access: client.with_token(tokens["access_token"].as_str().unwrap()),
            refresh: tokens["refresh_token"].as_str().unwrap().to_owned(),
        }
    }

    async fn begin(node: SocketAddr) -> Self {
        let client = Client::anonymous(node);
        let login = json!({"username": "admin", "password": PASSWORD});
        Self::of(&client, &client.post("/login", &login).await.expect(200))
    }

    async fn try_renew(&self) -> Answer {
        let renewal = json!({ "refreshToken": self.refresh });
        self.access.post("/login/refreshToken", &renewal).await
    }

    async fn renew(&self) -> Self {
        let tokens = self.try_renew().await.expect(200);
        assert_eq!(tokens["token_type"], "Bearer");
        assert_eq!(tokens["expires_in"], 3600);
        Self::of(&self.access, &tokens)
    }

    async fn works(&self) -> bool {
        match self.access.get("/sessions").await.status.as_u16() {
            200 => true,
            401 => false,
            other => panic!("{other}"),
        }
    }

    /// Waits until a node has heard that it is not valid any more.
    async fn ends_at(&self, node: SocketAddr) {
        let there = Self {
            access: self.access.at(node),
            ..self.clone()
        };
        wait::until("the other node has heard of it", async || {
            (!there.works().await).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_renewed_pair_takes_the_place_of_the_one_before_at_every_node() {
    let house = Builder::new().apis(2).build().await;
    let [here, there] = [house.apis[0].addr, house.apis[1].addr];
    let first = Pair::begin(here).await;
    let second = first.renew().await;
    assert!(!first.works().await);
    assert!(second.works().await);
    first.ends_at(there).await;
    // Renewed where it was not begun, and known at once wherever it is shown.
    let moved = Pair {
        access: second.access.at(there),
        ..second.clone()
    };
    let third = moved.renew().await;
    assert!(third.works().await);
    assert!(
        Pair {
            access: third.access.at(here),
            ..third.clone()
        }
        .works()
        .await
    );
    second.ends_at(here).await;
    // Another sign-in of the same user is not concerned.
    let other = Pair::begin(here).await;
    third.renew().await;
    assert!(other.works().await);
}

#[tokio::test]
async fn a_refresh_token_that_comes_a_second_time_ends_its_sign_in() {
    let house = Builder::new().apis(2).build().await;
    let first = Pair::begin(house.apis[0].addr).await;
    let second = first.renew().await;
    first.try_renew().await.error(401);
    assert!(!second.works().await);
    second.try_renew().await.error(401);
    second.ends_at(house.apis[1].addr).await;
    assert_eq!(
        records_by(&house, "(warren)", 1).await,
        ["sign_out admin: a refresh token came a second time"]
    );

    // To sign out with one ends it just the same.
    let third = Pair::begin(house.apis[0].addr).await;
    third.renew().await;
    let client = Client::anonymous(house.apis[0].addr);
    let spent = format!("/login/refreshToken?refreshToken={}", third.refresh);
    client.delete(&spent).await.error(401);
    assert_eq!(records_by(&house, "(warren)", 2).await.len(), 2);

    // Nobody can tell which of two that come at once is the thief.
    let pair = Pair::begin(house.apis[0].addr).await;
    let (one, other) = tokio::join!(pair.try_renew(), pair.try_renew());
    let renewed: Vec<Answer> = [one, other]
        .into_iter()
        .filter(|answer| answer.status == 200)
        .collect();
    assert_eq!(renewed.len(), 1);
    for answer in renewed {
        assert!(!Pair::of(&pair.access, &answer.body).works().await);
    }
}

#[tokio::test]
async fn signing_out_ends_every_token_of_the_sign_in() {
    let house = Builder::new().apis(2).build().await;
    let node = house.apis[0].addr;
    let anyone = Client::anonymous(node);
    let ways = ["/login/refreshToken?refreshToken=", "/login/refreshToken/"];
    for way in ways {
        let before = Pair::begin(node).await;
        let pair = before.renew().await;
        let path = format!("{way}{}", pair.refresh);
        assert_eq!(anyone.delete(&path).await.expect(200), json!({}));
        assert!(!pair.works().await);
        pair.try_renew().await.error(401);
        anyone.delete(&path).await.error(401);
        pair.ends_at(house.apis[1].addr).await;
        // One that was spent is nobody's to sign out with, and says that there are two who have it.
        let before = Pair::begin(node).await;
        let pair = before.renew().await;
        anyone
            .delete(&format!("{way}{}", before.refresh))
            .await
            .error(401);
        assert!(!pair.works().await);
        for other in ["nonsense", "a%2Fb", "%00", "..%2F..", "%27%20OR%201%3D1"] {
            anyone.delete(&format!("{way}{other}")).await.error(401);
        }
    }
    anyone.delete("/login/refreshToken").await.error(400);
    anyone.delete("/login/refreshToken/a/b").await.error(401);
    anyone.delete("/login/refreshToken/%FF").await.error(400);
    for body in [
        json!({}),
        json!({"refreshToken": 7}),
        json!({"refresh_token": "x"}),
    ] {
        anyone.post("/login/refreshToken", &body).await.error(400);
    }
    for refresh in ["", "nonsense", "\0", "' OR 1=1 --"] {
        let body = json!({ "refreshToken": refresh });
        anyone.post("/login/refreshToken", &body).await.error(401);
    }
}

#[tokio::test]
async fn neither_token_does_the_work_of_the_other() {
    let house = House::build().await;
    let pair = Pair::begin(house.apis[0].addr).await;
    pair.access
        .with_token(&pair.refresh)
        .get("/sessions")
        .await
        .error(401);
    let body = json!({ "refreshToken": pair.access.token() });
    pair.access
        .post("/login/refreshToken", &body)
        .await
        .error(401);
    assert!(pair.works().await);
}

#[tokio::test]
async fn what_has_expired_or_belongs_to_a_disabled_user_is_not_renewed() {
    let house = House::build().await;
    let node = house.apis[0].addr;
    for change in [
        "UPDATE refresh_tokens SET expires_at = now()",
        "UPDATE token_families SET expires_at = now()",
        "UPDATE principals SET disabled_at = now()",
    ] {
        let pair = Pair::begin(node).await;
        house.sql(change).await;
        pair.try_renew().await.error(401);
    }
}

/// A renewal that meets a change of its user waits for it.
#[tokio::test]
async fn a_user_who_is_being_disabled_is_not_renewed_at_that_moment() {
    let house = House::build().await;
    let pair = Pair::begin(house.apis[0].addr).await;
    let changer = house.database.connect().await;
    let disable = "BEGIN; UPDATE principals SET disabled_at = now()";
    changer.batch_execute(disable).await.unwrap();
    let waiting = wait::until("the renewal waits", async || {
        let waiting = "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND query LIKE '-- tokens::renew%' AND wait_event_type = 'Lock'";
        (house.sql_value(waiting).await == "1").then_some(())
    });
    let commit = async {
        waiting.await;
        changer.batch_execute("COMMIT").await.unwrap();
    };
    let (answer, ()) = tokio::join!(pair.try_renew(), commit);
    answer.error(401);
}

/// The sign-in ends after 90 days however often it is renewed, and no token outlives it.
#[tokio::test]
async fn no_token_outlives_its_sign_in() {
    let house = House::build().await;
    let pair = Pair::begin(house.apis[0].addr).await;
    let expires = "SELECT extract(epoch FROM expires_at - created_at)::int / 86400 FROM";
    assert_eq!(
        house.sql_value(&format!("{expires} token_families")).await,
        "90"
    );
    assert_eq!(
        house.sql_value(&format!("{expires} refresh_tokens")).await,
        "14"
    );
    house
        .sql("UPDATE token_families SET expires_at = now() + interval '10 minutes'")
        .await;
    let tokens = pair.try_renew().await.expect(200);
    let seconds = tokens["expires_in"].as_i64().unwrap();
    assert!((1..=600).contains(&seconds), "{tokens}");
    let beyond = "SELECT count(*) FROM refresh_tokens t JOIN token_families f ON f.id = t.family_id
                   WHERE t.spent_at IS NULL AND t.expires_at > f.expires_at";
    assert_eq!(house.sql_value(beyond).await, "0");
}

/// Nodes may differ in how long their tokens live, for the time of a deploy: what was issued before counts as long as it was to.
#[tokio::test]
async fn a_renewal_at_a_node_with_shorter_tokens_forgets_no_longer_one() {
    let mut house = House::build().await;
    let pair = Pair::begin(house.apis[0].addr).await;
    let short = house
        .add_api_via(house.database.server, &[("WARREN_TOKEN_SECONDS", "60")])
        .await;
    let there = Pair {
        access: pair.access.at(house.apis[short].addr),
        ..pair.clone()
    };
    assert_eq!(there.try_renew().await.expect(200)["expires_in"], 60);
    let relevant = "SELECT access_until > now() + interval '50 minutes' FROM token_families
                     WHERE generation = 1";
    assert_eq!(house.sql_value(relevant).await, "t");
    pair.ends_at(house.apis[0].addr).await;
}

#[tokio::test]
async fn keys_are_rotated_without_logging_anybody_out() {
    let house = Builder::new().apis(2).build().await;
    let [here, there] = [house.apis[0].addr, house.apis[1].addr];
    let before = Pair::begin(here).await;
    house.administer(&["keys", "rotate"], "").await;
    assert!(before.works().await);
    let after = wait::until("the node signs with the new key", async || {
        let pair = Pair::begin(here).await;
        (key_of(&pair.access) != key_of(&before.access)).then_some(pair)
    })
    .await;
    for node in [here, there] {
        for pair in [&before, &after] {
            pair.access.at(node).get("/sessions").await.expect(200);
        }
        let keys = Client::anonymous(node)
            .get("/.well-known/jwks.json")
            .await
            .expect(200);
        let known: Vec<&Value> = keys["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| &key["kid"])
            .collect();
        for pair in [&before, &after] {
            assert!(known.contains(&&key_of(&pair.access)), "{keys}");
        }
        assert!(
            keys["keys"]
                .as_array()
                .unwrap()
                .iter()
                .all(|key| key["d"].is_null())
        );
    }
    assert!(before.renew().await.works().await);
}

/// The id of the key that signed a token.
fn key_of(client: &Client) -> Value {
    let header = client.token().split('.').next().unwrap();
    let header: Value = serde_json::from_slice(&base64url::decode(header)).unwrap();
    header["kid"].clone()
}

/// A part of a token with one member changed.
fn with(part: &str, member: &str, value: &str) -> String {
    let mut content: Value = serde_json::from_slice(&base64url::decode(part)).unwrap();
    content[member] = json!(value);
    base64url::encode(content.to_string().as_bytes())
}

/// As much of RFC 4648 §5 as these tests need.
mod base64url {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    pub(super) fn decode(text: &str) -> Vec<u8> {
        let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
        for digit in text.bytes() {
            let value = DIGITS.iter().position(|known| *known == digit).unwrap();
            bits = bits << 6 | u32::try_from(value).unwrap();
            count += 6;
            if count >= 8 {
                count -= 8;
                bytes.push(u8::try_from(bits >> count & 0xff).unwrap());
            }
        }
        bytes
    }

    pub(super) fn encode(bytes: &[u8]) -> String {
        let mut text = String::new();
        for three in bytes.chunks(3) {
            let joined = three
                .iter()
                .chain([0; 2].iter())
                .take(3)
                .fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
            for digit in 0..=three.len() {
                text.push(char::from(
                    DIGITS[(joined >> (18 - 6 * digit) & 63) as usize],
                ));
            }
        }
        text
    }
}
