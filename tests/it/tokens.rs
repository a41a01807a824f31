//! Signing in, and tokens that are none.

use serde_json::{Value, json};
use warren_tests::House;
use warren_tests::client::Client;
use warren_tests::house::PASSWORD;

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
    let house = warren_tests::Builder::new().apis(2).build().await;
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
    warren_tests::wait::until("the token is expired", async || {
        let answer = expiring.get("/sessions").await;
        (answer.status == 401).then_some(())
    })
    .await;
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
