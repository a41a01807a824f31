//! Revoking what a sign-in gave at one node, and asking both with its access token until they refuse.

use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::super::BenchError;
use super::super::figure::{Figure, Quantity};
use super::super::http::{Connection, Target};
use super::super::series::Sample;
use super::super::stage::Found;
use super::super::warren::{Warren, read};
use crate::house::PASSWORD;

/// Nodes look at intervals for what others revoked. Revocations are spread over such a span, else all would come at the same
/// moment between two looks: right after the one that ended the wait before.
const SPREAD: Duration = Duration::from_millis(500);
/// How long a node may go on accepting a revoked token before the bench gives up.
const LIMIT: Duration = Duration::from_secs(10);

/// What a sign-in gives.
#[derive(Deserialize)]
struct Pair {
    access_token: String,
    refresh_token: String,
}

/// Revokes so many sign-ins, one after another: how long the other node accepted each, and how often the same one did.
pub(super) async fn measure(warren: &Warren, count: u32) -> Result<Vec<Found>, BenchError> {
    let (mut times, mut accepted) = (Vec::new(), 0);
    for number in 0..count {
        let (time, here) = once(warren, SPREAD * number / count).await?;
        times.push(time);
        accepted += here;
    }
    Ok(vec![
        Found::Times(Figure::RefusedElsewhere, Sample::in_turn(times)),
        Found::Amount(Quantity::AcceptedHere, f64::from(accepted)),
    ])
}

/// Signs in, sees both nodes accept the token, and revokes it after a pause. The time begins before the revocation is asked for and
/// ends with the other node's refusal.
async fn once(warren: &Warren, pause: Duration) -> Result<(Duration, u32), BenchError> {
    let mut anyone = Connection::open(warren.target(0)).await?;
    let pair = sign_in(&mut anyone).await?;
    let [mut here, mut there] = [
        connect(warren, 0, &pair).await?,
        connect(warren, 1, &pair).await?,
    ];
    for node in [&mut here, &mut there] {
        let what = "asking with a new token";
        node.ask(what, Method::GET, "/jobs", "", StatusCode::OK)
            .await?;
    }
    tokio::time::sleep(pause).await;
    let began = Instant::now();
    let path = format!("/login/refreshToken?refreshToken={}", pair.refresh_token);
    anyone
        .ask("revoking", Method::DELETE, &path, "", StatusCode::OK)
        .await?;
    let (accepted, elsewhere) = tokio::join!(refused(&mut here), refused(&mut there));
    elsewhere?;
    Ok((began.elapsed(), accepted?))
}

async fn sign_in(connection: &mut Connection) -> Result<Pair, BenchError> {
    let (what, ok) = ("signing in", StatusCode::OK);
    let body = json!({"username": "admin", "password": PASSWORD}).to_string();
    let answer = connection
        .ask(what, Method::POST, "/login", &body, ok)
        .await?;
    read(what, ok, &answer)
}

async fn connect(warren: &Warren, node: usize, pair: &Pair) -> Result<Connection, BenchError> {
    let target = Target::new(warren.house.apis[node].addr, &pair.access_token)?;
    Connection::open(&target).await
}

/// Asks again and again until that is refused; how often it was not.
async fn refused(connection: &mut Connection) -> Result<u32, BenchError> {
    let what = "asking with a revoked token";
    let deadline = Instant::now() + LIMIT;
    let mut accepted = 0;
    while Instant::now() < deadline {
        let asked = connection.send(what, Method::GET, "/jobs", "");
        match asked.await? {
            (StatusCode::OK, _) => accepted += 1,
            (StatusCode::UNAUTHORIZED, _) => return Ok(accepted),
            (status, body) => {
                let body = String::from_utf8_lossy(&body).into_owned();
                return Err(BenchError::Refused { what, status, body });
            }
        }
    }
    Err(BenchError::Late("refusing a revoked token"))
}
