//! Tokens of an OpenID provider: a real one, and others in its place.

mod callers;
mod provider;
mod refused;

use warren_tests::openid::{AUDIENCE, CLIENT};
use warren_tests::{Answer, Builder, Client, House};

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
