//! `POST /login`

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};

use super::attempt::Login;
use super::{AccessTokenResponse, SignsInHere, directory, local};
use crate::app::Shared;
use crate::audit::{Notes, Origin};
use crate::extract::SmallBody;
use crate::transport::client::ClientAddress;

/// Checks name and password, and begins a token family. After five failures it takes longer and longer, also to be told that it is
/// right: else whoever guesses would not wait for the answer.
pub async fn login(
    _here: SignsInHere,
    State(app): State<Shared>,
    ClientAddress(address): ClientAddress,
    origin: Origin,
    SmallBody(login): SmallBody<Login>,
) -> Response {
    // A name that nobody has is not recorded: it may be a password that was typed in the wrong place.
    let mut notes = Notes::new(&app.audit, origin);
    let signed_in = match &app.directory {
        Some(directory) => directory::sign_in(&app, directory, login, address, &mut notes).await,
        None => local::sign_in(&app, login, address, &mut notes).await,
    };
    let tokens = signed_in.map(|pair| Json(AccessTokenResponse::from(pair)));
    notes.attach(tokens.into_response())
}
