//! Signing in where Warren keeps the passwords.

use std::net::IpAddr;

use warren_common::store::principals;
use warren_common::store::tokens::Proof;

use super::attempt::{Login, WRONG, turn};
use crate::app::App;
use crate::audit::{Notes, Who};
use crate::auth::throttle::Attempt;
use crate::auth::tokens::Pair;
use crate::error::ApiError;

/// Signs a local user in. `notes` says whose name it is, whether the password fits or not.
pub(super) async fn sign_in(
    app: &App,
    login: Login,
    address: IpAddr,
    notes: &mut Notes<'_>,
) -> Result<Pair, ApiError> {
    let Login { username, password } = login;
    let attempt = Attempt::new(&username, address);
    let turn = turn(app, &attempt, || app.passwords.turn()).await?;
    // Postgres keeps no NUL in text, so nobody has such a name.
    let user = if username.contains('\0') {
        None
    } else {
        principals::local_user(&app.db, &username).await?
    };
    notes.who = user.as_ref().map(|user| Who {
        id: Some(user.id),
        name: username,
    });
    let user = user.filter(|user| !user.disabled);
    let hash = user.as_ref().map(|user| user.password_hash.clone());
    let (fits, turn) = turn.fits(password, hash).await?;
    let Some(user) = user.filter(|_user| fits) else {
        // Before the next password is checked: many that come at once are no way around the delay.
        attempt.failed(&app.db).await?;
        drop(turn);
        return Err(WRONG);
    };
    attempt.succeeded(&app.db).await?;
    drop(turn);
    let proof = Proof::Password(&user.password_hash);
    // None when the user was changed while the password was checked.
    app.tokens.begin(user.id, proof).await?.ok_or(WRONG)
}
