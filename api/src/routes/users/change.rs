//! `PATCH /users/{name}`

use axum::extract::State;
use axum::{Extension, Json};
use serde::Deserialize;
use warren_common::model::Role;
use warren_common::store::principals::Change;

use super::{Name, User, new_hash};
use crate::app::Shared;
use crate::audit::Target;
use crate::error::ApiError;
use crate::extract::SmallBody;

/// What becomes different; what is absent stays.
#[derive(Deserialize)]
pub struct Changes {
    role: Option<Role>,
    disabled: Option<bool>,
    password: Option<String>,
}

impl Changes {
    /// For the record.
    fn said(&self) -> String {
        let role = self.role.map(|role| format!("role {}", role.word()));
        let disabled = self.disabled.map(|disabled| {
            let word = if disabled { "disabled" } else { "enabled" };
            word.to_owned()
        });
        let password = self.password.as_ref().map(|_secret| "password".to_owned());
        let said: Vec<String> = [role, disabled, password].into_iter().flatten().collect();
        said.join(", ")
    }
}

/// Changes a user, all that is asked for or nothing. Nodes know it within a second.
pub async fn change(
    State(app): State<Shared>,
    name: Name,
    SmallBody(wanted): SmallBody<Changes>,
) -> Result<(Extension<Target>, Json<User>), ApiError> {
    let what = Target(format!("{}: {}", name.0, wanted.said()));
    let hash = match wanted.password {
        Some(password) => Some(new_hash(&app, &name.0, password).await?),
        None => None,
    };
    let disabled = wanted
        .disabled
        .map(|disabled| Change::letting_in(!disabled));
    let role = wanted.role.map(Change::Role);
    let password = hash.as_deref().map(Change::Password);
    let changes: Vec<Change<'_>> = [role, disabled, password].into_iter().flatten().collect();
    name.change(&app, &changes).await?;
    Ok((Extension(what), Json(name.find(&app.db).await?)))
}
