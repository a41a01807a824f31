//! Sign-ins that are refused: with a name that nobody has, beside another password for one that somebody has.

use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use serde_json::json;

use super::super::BenchError;
use super::super::figure::Figure;
use super::super::http::Connection;
use super::super::series::Sample;
use super::super::stage::Found;
use super::super::warren::Warren;

/// A name that somebody has.
const KNOWN: &str = "admin";
/// One of the same length that nobody has.
const UNKNOWN: &str = "nobod";

/// Tries so many of each kind, in turn.
pub(super) async fn measure(warren: &Warren, count: u32) -> Result<Vec<Found>, BenchError> {
    let database = warren.house.database.connect().await;
    let mut connection = Connection::open(warren.target(0)).await?;
    let (mut wrong, mut unknown) = (Vec::new(), Vec::new());
    for _ in 0..count {
        // Each is the first failure of its name, so that none waits for those before it.
        database.batch_execute("DELETE FROM login_failures").await?;
        wrong.push(refused(&mut connection, KNOWN).await?);
        unknown.push(refused(&mut connection, UNKNOWN).await?);
    }
    Ok(vec![
        Found::Times(Figure::WrongPassword, Sample::in_turn(wrong)),
        Found::Times(Figure::UnknownName, Sample::in_turn(unknown)),
    ])
}

async fn refused(connection: &mut Connection, name: &str) -> Result<Duration, BenchError> {
    let body = json!({"username": name, "password": "another"}).to_string();
    let began = Instant::now();
    connection
        .ask(
            "signing in",
            Method::POST,
            "/login",
            &body,
            StatusCode::UNAUTHORIZED,
        )
        .await?;
    Ok(began.elapsed())
}
