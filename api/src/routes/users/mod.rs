//! Local users, for the role owner.

pub mod add;
pub mod change;
pub mod delete;
pub mod list;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use serde::Serialize;
use warren_common::model::Role;
use warren_common::store::Db;
use warren_common::store::principals::{self, Change, Changed, ListedUser};

use crate::app::{App, Shared};
use crate::auth::password_rules;
use crate::auth::user_name;
use crate::error::ApiError;
use crate::routes::jobs::rfc3339;

/// A user.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    name: String,
    role: Role,
    disabled: bool,
    created_at: String,
    password_changed_at: Option<String>,
}

impl From<ListedUser> for User {
    fn from(user: ListedUser) -> Self {
        Self {
            name: user.name,
            role: user.role,
            disabled: user.disabled,
            created_at: rfc3339(user.created_at),
            password_changed_at: user.password_changed_at.map(rfc3339),
        }
    }
}

/// The user that the path names.
pub struct Name(String);

impl FromRequestParts<Shared> for Name {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, ApiError> {
        let Path(name) = Path::<String>::from_request_parts(parts, app)
            .await
            .map_err(|rejection| ApiError::BadRequest(rejection.body_text()))?;
        // Nobody has another name, and Postgres would not even read some of them.
        user_name::judge(&name).map_err(|_unfit| unknown(&name))?;
        Ok(Self(name))
    }
}

impl Name {
    async fn find(&self, db: &Db) -> Result<User, ApiError> {
        let found = principals::users(db, principals::LOCAL, Some(&self.0)).await?;
        let user = found.into_iter().next();
        Ok(user.ok_or_else(|| unknown(&self.0))?.into())
    }

    /// Changes the user, but for taking the role owner from the last who has it.
    async fn change(&self, app: &App, changes: &[Change<'_>]) -> Result<(), ApiError> {
        match principals::change_local_user(&app.db, &self.0, changes, true).await? {
            Changed::Yes(_user) => {
                app.tokens.catch_up().await;
                Ok(())
            }
            Changed::Unknown => Err(unknown(&self.0)),
            Changed::LastOwner => Err(ApiError::Conflict(
                "nobody with the role owner would be left; give it to somebody else first"
                    .to_owned(),
            )),
        }
    }
}

fn unknown(name: &str) -> ApiError {
    ApiError::NotFound(format!("there is no user {name:?}"))
}

/// The hash of a password that may be set for a user.
async fn new_hash(app: &App, name: &str, password: String) -> Result<String, ApiError> {
    password_rules::judge(&password, name)
        .map_err(|unfit| ApiError::BadRequest(format!("the password {unfit}")))?;
    app.passwords.turn().await?.hash(password).await
}
