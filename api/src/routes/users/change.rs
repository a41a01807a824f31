//! `PATCH /users/{name}`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use warren_common::model::Role;
use warren_common::store::principals::Change;

use super::{Name, User, new_hash};
use crate::app::Shared;
use crate::error::ApiError;
use crate::extract::SmallBody;

/// What becomes different; what is absent stays.
#[derive(Deserialize)]
pub struct Changes {
    role: Option<Role>,
    disabled: Option<bool>,
    password: Option<String>,
}

/// Changes a user, all that is asked for or nothing. Nodes know it within a second.
pub async fn change(
    State(app): State<Shared>,
    name: Name,
    SmallBody(wanted): SmallBody<Changes>,
) -> Result<Json<User>, ApiError> {
    let hash = match wanted.password {
        Some(password) => Some(new_hash(&app, &name.0, password).await?),
        None => None,
    };
    let disabled = wanted.disabled.map(|disabled| {
        if disabled {
            Change::Disable
        } else {
            Change::Enable
        }
    });
    let role = wanted.role.map(Change::Role);
    let password = hash.as_deref().map(Change::Password);
    let changes: Vec<Change<'_>> = [role, disabled, password].into_iter().flatten().collect();
    name.change(&app, &changes).await?;
    Ok(Json(name.find(&app.db).await?))
}
