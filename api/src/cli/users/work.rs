//! Users, as an operator manages them.

use std::io::{BufRead, IsTerminal, Write};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde_json::json;
use warren_common::config::DatabaseConfig;
use warren_common::model::{AuditEvent, Role};
use warren_common::store::principals::{Change, Changed, ListedUser};
use warren_common::store::{Db, DbError, principals};

use super::super::record::{NotRecorded, record};
use crate::auth::password::{HashError, hash};
use crate::auth::password_rules::{UnfitPassword, judge};
use crate::auth::user_name::{self, UnfitName};
use crate::config::AdminConfig;
use crate::start::{StartError, prepare_database};

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum UsersError {
    #[error(transparent)]
    BadName(#[from] UnfitName),
    #[error("the password {0}")]
    Unfit(#[from] UnfitPassword),
    #[error("the password could not be read")]
    Read(#[source] std::io::Error),
    #[error("there is a user {0:?} already, or was one: what it owned would be the new one's")]
    Taken(String),
    #[error("there is no user {0:?}; `warren-api users list` shows those that there are")]
    Unknown(String),
    #[error(
        "there is no user {name:?} of {of}; `warren-api users list --source {of}` shows those that there are"
    )]
    UnknownOf { name: String, of: String },
    #[error(transparent)]
    Hash(#[from] HashError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    NotRecorded(#[from] NotRecorded),
    #[error("the users could not be read or stored")]
    Store(#[from] DbError),
    #[error("the list could not be written")]
    Write(#[from] std::io::Error),
}

/// A database, whose schema is brought up to date first.
async fn open(database: &DatabaseConfig) -> Result<Db, UsersError> {
    Ok(prepare_database(database, &AdminConfig { password: None }).await?)
}

/// Adds a user.
pub(super) async fn add(
    name: &str,
    role: Role,
    database: &DatabaseConfig,
) -> Result<(), UsersError> {
    user_name::judge(name)?;
    let hash = new_password(name)?;
    let db = open(database).await?;
    if principals::add_local_user(&db, name, &hash, role).await? {
        let what = format!("{name} as {}", role.word());
        record(&db, AuditEvent::AddUser, what).await?;
        tracing::info!("Added the user {name:?} as {}", role.word());
        Ok(())
    } else {
        Err(UsersError::Taken(name.to_owned()))
    }
}

/// Sets another password, which ends every sign-in of the user.
pub(super) async fn set_password(name: &str, database: &DatabaseConfig) -> Result<(), UsersError> {
    let hash = new_password(name)?;
    change(name, Change::Password(&hash), database).await?;
    tracing::info!("{name:?} has another password, and has to sign in again everywhere");
    Ok(())
}

/// Gives a user another role.
pub(super) async fn set_role(
    name: &str,
    role: Role,
    database: &DatabaseConfig,
) -> Result<(), UsersError> {
    change(name, Change::Role(role), database).await?;
    tracing::info!(
        "{name:?} is {} from now on; nodes know it within a second",
        role.word()
    );
    Ok(())
}

/// Lets a user of any source in, or not.
pub(super) async fn allow(
    source: &str,
    name: &str,
    allowed: bool,
    database: &DatabaseConfig,
) -> Result<(), UsersError> {
    if source == principals::LOCAL {
        change(name, Change::letting_in(allowed), database).await?;
    } else {
        let db = open(database).await?;
        if !principals::allow(&db, source, name, allowed).await? {
            let (name, of) = (name.to_owned(), source.to_owned());
            return Err(UsersError::UnknownOf { name, of });
        }
        let what = format!("{name} of {source}: {}", state(!allowed));
        record(&db, AuditEvent::ChangeUser, what).await?;
    }
    if allowed {
        tracing::info!("{name:?} may sign in again");
    } else {
        tracing::info!("{name:?} may not sign in any more; nodes know it within a second");
    }
    Ok(())
}

const fn state(disabled: bool) -> &'static str {
    if disabled { "disabled" } else { "enabled" }
}

/// Removes a user's password for good.
pub(super) async fn delete(name: &str, database: &DatabaseConfig) -> Result<(), UsersError> {
    change(name, Change::Delete, database).await?;
    tracing::info!("{name:?} is no user any more; what it published and saved is kept");
    Ok(())
}

async fn change(
    name: &str,
    change: Change<'_>,
    database: &DatabaseConfig,
) -> Result<(), UsersError> {
    let db = open(database).await?;
    match principals::change_local_user(&db, name, &[change], false).await? {
        Changed::Yes(_user) => {
            let (event, what) = match change {
                Change::Disable | Change::Enable => {
                    let state = state(change == Change::Disable);
                    (AuditEvent::ChangeUser, format!("{name}: {state}"))
                }
                Change::Password(_hash) => (AuditEvent::ChangeUser, format!("{name}: password")),
                Change::Role(role) => {
                    let what = format!("{name}: role {}", role.word());
                    (AuditEvent::ChangeUser, what)
                }
                Change::Delete => (AuditEvent::DeleteUser, name.to_owned()),
            };
            Ok(record(&db, event, what).await?)
        }
        Changed::Unknown | Changed::LastOwner => Err(UsersError::Unknown(name.to_owned())),
    }
}

/// Writes the users of a source to standard output, a line each.
pub(super) async fn list(
    source: &str,
    as_json: bool,
    database: &DatabaseConfig,
) -> Result<(), UsersError> {
    let users = principals::users(&open(database).await?, source, None).await?;
    let mut output = std::io::stdout().lock();
    if as_json {
        let list: Vec<_> = users.iter().map(described).collect();
        return Ok(writeln!(output, "{}", json!(list))?);
    }
    let width = users.iter().map(|user| user.name.chars().count()).max();
    let width = width.unwrap_or_default().max("name".len());
    writeln!(
        output,
        "{:width$}  role         state     since       password of",
        "name"
    )?;
    for user in &users {
        let password = user.password_changed_at;
        let password = password.map_or("-".to_owned(), |at| at.date_naive().to_string());
        writeln!(
            output,
            "{:width$}  {:11}  {:8}  {}  {password}",
            user.name,
            user.role.word(),
            state(user.disabled),
            user.created_at.date_naive()
        )?;
    }
    Ok(())
}

fn described(user: &ListedUser) -> serde_json::Value {
    json!({
        "name": user.name,
        "role": user.role,
        "disabled": user.disabled,
        "createdAt": user.created_at.to_rfc3339(),
        "passwordChangedAt": user.password_changed_at.map(|at| at.to_rfc3339()),
    })
}

/// Asks for a password that may be set, and hashes it.
fn new_password(name: &str) -> Result<String, UsersError> {
    let password = read_password(name).map_err(UsersError::Read)?;
    judge(&password, name)?;
    Ok(hash(&password)?)
}

fn read_password(name: &str) -> std::io::Result<String> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return first_line(input.lock());
    }
    let mut screen = std::io::stderr();
    write!(screen, "Password of {name}: ")?;
    screen.flush()?;
    let before = tcgetattr(&input)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&input, OptionalActions::Now, &silent)?;
    let line = first_line(input.lock());
    tcsetattr(&input, OptionalActions::Now, &before)?;
    writeln!(screen)?;
    line
}

fn first_line(mut input: impl BufRead) -> std::io::Result<String> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_the_first_line_whole() {
        let read = |text: &str| first_line(text.as_bytes()).unwrap();
        assert_eq!(read(" with spaces \r\nnext\n"), " with spaces ");
        assert_eq!(read("no end"), "no end");
    }
}
