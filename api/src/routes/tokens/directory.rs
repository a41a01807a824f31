//! Signing in and renewing where a directory says who is who.

use std::net::IpAddr;

use warren_common::model::AuditEvent;
use warren_common::store::principals;
use warren_common::store::tokens::Proof;

use super::attempt::{Login, WRONG, turn};
use crate::app::App;
use crate::audit::{Notes, Who};
use crate::auth::ldap::Directory;
use crate::auth::throttle::Attempt;
use crate::auth::tokens::{BAD_REFRESH, Pair};
use crate::error::ApiError;

/// Signs in whom the directory knows, with the role of its groups. `notes` says whom it knows by that name and password.
pub(super) async fn sign_in(
    app: &App,
    directory: &Directory,
    login: Login,
    address: IpAddr,
    notes: &mut Notes<'_>,
) -> Result<Pair, ApiError> {
    let Login { username, password } = login;
    let attempt = Attempt::new(&compared(&username), address);
    let place = turn(app, &attempt, || directory.place()).await?;
    let Some(identity) = directory.sign_in(&place, &username, &password).await? else {
        // Before the next password is checked: many that come at once are no way around the delay.
        attempt.failed(&app.db).await?;
        return Err(WRONG);
    };
    attempt.succeeded(&app.db).await?;
    drop(place);
    let known = notes.who.insert(Who {
        id: None,
        name: identity.subject.clone(),
    });
    let Some(role) = app.config.role_groups.role_of(&identity.groups) else {
        return Err(ApiError::Forbidden(
            "you are in none of the groups that may sign in here".to_owned(),
        ));
    };
    let principal = principals::seen(&app.db, principals::LDAP, &identity.subject, role).await?;
    known.id = Some(principal.id);
    notes.of_groups(principal.news, principals::LDAP, &identity.subject, role);
    let pair = app.tokens.begin(principal.id, Proof::Directory).await?;
    // None when Warren itself refuses the principal.
    pair.ok_or(WRONG)
}

/// Before a renewal: has the role follow the groups that somebody is in now, and ends the sign-in of whoever is gone or has no role.
/// While the directory cannot be asked nothing is spent.
pub(super) async fn look_again(
    app: &App,
    directory: &Directory,
    refresh: &str,
    notes: &mut Notes<'_>,
) -> Result<(), ApiError> {
    let Some(subject) = app.tokens.subject_of(refresh).await? else {
        // The renewal itself says what is wrong with the token.
        return Ok(());
    };
    let identity = directory.look_up(&subject).await?;
    let role = identity.and_then(|identity| app.config.role_groups.role_of(&identity.groups));
    let Some(role) = role else {
        app.tokens.revoke(refresh, notes).await?;
        let what = format!("{subject}: gone, or in no group with a role");
        notes.aside(AuditEvent::SignOut, principals::LDAP, &what);
        return Err(BAD_REFRESH);
    };
    let principal = principals::seen(&app.db, principals::LDAP, &subject, role).await?;
    notes.who = Some(Who {
        id: Some(principal.id),
        name: subject.clone(),
    });
    notes.of_groups(principal.news, principals::LDAP, &subject, role);
    Ok(())
}

/// A name as directories compare it, without regard to case and to characters that nobody sees: else each way to write a name would have
/// attempts of its own.
fn compared(name: &str) -> String {
    let words: Vec<&str> = name.split_whitespace().collect();
    let name = words.join(" ");
    match stringprep::nameprep(&name) {
        Ok(prepared) => prepared.into_owned(),
        Err(_unusual) => name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_count_together_however_a_name_is_written() {
        for written in [
            "ANA",
            " ana ",
            "a\u{ad}na",
            "\u{ff41}na",
            "\u{200b}ana\u{3000}",
        ] {
            assert_eq!(compared(written), "ana", "{written:?}");
        }
        assert_eq!(compared("ana  maria"), "ana maria");
        assert_eq!(compared("a\0b"), "a\0b");
        assert_ne!(compared("ana"), compared("anna"));
    }
}
