//! `users add`.

use std::io::{BufRead, IsTerminal, Write};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use warren_common::config::DatabaseConfig;
use warren_common::store::{DbError, principals};

use crate::auth::password::{HashError, hash};
use crate::config::{AdminConfig, SHORTEST_PASSWORD};
use crate::start::{StartError, prepare_database};

/// The longest name.
const LONGEST_NAME: usize = 128;

/// Why a user was not added.
#[derive(Debug, thiserror::Error)]
pub(super) enum UsersError {
    #[error("a user name is 1 to {LONGEST_NAME} characters without control characters")]
    BadName,
    #[error("a password has at least {SHORTEST_PASSWORD} characters")]
    ShortPassword,
    #[error("the password could not be read")]
    Read(#[source] std::io::Error),
    #[error("there is a user {0:?} already")]
    Taken(String),
    #[error(transparent)]
    Hash(#[from] HashError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("the user could not be stored")]
    Store(#[from] DbError),
}

/// Adds a user to a database, whose schema is brought up to date first.
pub(super) async fn add(name: &str, database: &DatabaseConfig) -> Result<(), UsersError> {
    let length = name.chars().count();
    if length == 0 || length > LONGEST_NAME || name.chars().any(char::is_control) {
        return Err(UsersError::BadName);
    }
    let password = read_password(name).map_err(UsersError::Read)?;
    if password.chars().count() < SHORTEST_PASSWORD {
        return Err(UsersError::ShortPassword);
    }
    let db = prepare_database(database, &AdminConfig { password: None }).await?;
    if principals::add_local_user(&db, name, &hash(&password)?).await? {
        tracing::info!("Added the user {name:?}");
        Ok(())
    } else {
        Err(UsersError::Taken(name.to_owned()))
    }
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
