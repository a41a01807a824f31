//! `POST /users`

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Deserialize;
use warren_common::model::Role;
use warren_common::store::principals;

use super::{Name, User, new_hash};
use crate::app::Shared;
use crate::audit::Target;
use crate::auth::user_name;
use crate::error::ApiError;
use crate::extract::SmallBody;

/// Who is added.
#[derive(Deserialize)]
pub struct NewUser {
    name: String,
    password: String,
    role: Option<Role>,
}

/// Adds a user, a contributor where no role is named.
pub async fn add(
    State(app): State<Shared>,
    SmallBody(new): SmallBody<NewUser>,
) -> Result<(StatusCode, Extension<Target>, Json<User>), ApiError> {
    user_name::judge(&new.name).map_err(|unfit| ApiError::BadRequest(unfit.to_string()))?;
    let hash = new_hash(&app, &new.name, new.password).await?;
    let role = new.role.unwrap_or(Role::Contributor);
    if !principals::add_local_user(&app.db, &new.name, &hash, role).await? {
        return Err(ApiError::Conflict(format!(
            "there is a user {:?} already, or was one: what it owned would be the new one's",
            new.name
        )));
    }
    let what = Target(format!("{} as {}", new.name, role.word()));
    let user = Name(new.name).find(&app.db).await?;
    Ok((StatusCode::CREATED, Extension(what), Json(user)))
}
