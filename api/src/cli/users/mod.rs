//! `users`: what can be asked for.

mod work;

use clap::{Args, Subcommand};
use warren_common::config::{DatabaseConfig, TelemetryConfig};
use warren_common::model::Role;
use warren_common::store::principals;

pub(super) use self::work::UsersError;

/// What is done to users.
#[derive(Debug, Subcommand)]
pub(super) enum UsersTask {
    /// Add a user; the password is asked for, or read from the first line of the input
    Add(NewUser),
    /// Show the users
    List(ListUsers),
    /// Refuse a user from now on, and end its sign-ins
    Disable(AnyUser),
    /// Let a user that was disabled sign in again
    Enable(AnyUser),
    /// Set another password, read as by add, and end the sign-ins with the one before
    SetPassword(OneUser),
    /// Give a user another role, also where it is signed in
    SetRole(UserRole),
    /// Remove a user for good; what it owns is kept, and nobody else gets its name
    Delete(OneUser),
}

/// Whom it is about.
#[derive(Debug, Args)]
pub(super) struct OneUser {
    /// Name that the user signs in with
    name: String,
    #[command(flatten)]
    database: DatabaseConfig,
    #[command(flatten)]
    telemetry: TelemetryConfig,
}

/// Whom it is about, wherever that one signs in.
#[derive(Debug, Args)]
pub(super) struct AnyUser {
    #[command(flatten)]
    user: OneUser,
    #[command(flatten)]
    from: Source,
}

/// Who vouches for users.
#[derive(Debug, Args)]
pub(super) struct Source {
    /// Who vouches for the user: local, ldap, or openid: and the issuer, as the audit writes them
    #[arg(long, default_value = principals::LOCAL)]
    source: String,
}

/// Who is added.
#[derive(Debug, Args)]
pub(super) struct NewUser {
    #[command(flatten)]
    user: OneUser,
    /// What the user may do: reader, contributor or owner
    #[arg(long, default_value = "contributor")]
    role: Role,
}

/// Who gets which role.
#[derive(Debug, Args)]
pub(super) struct UserRole {
    #[command(flatten)]
    user: OneUser,
    /// What the user may do: reader, contributor or owner
    role: Role,
}

/// How they are shown.
#[derive(Debug, Args)]
pub(super) struct ListUsers {
    /// As JSON, for programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    from: Source,
    #[command(flatten)]
    database: DatabaseConfig,
    #[command(flatten)]
    telemetry: TelemetryConfig,
}

impl UsersTask {
    /// How it logs.
    pub(super) fn telemetry(&self) -> &TelemetryConfig {
        match self {
            Self::Add(NewUser { user, .. })
            | Self::SetRole(UserRole { user, .. })
            | Self::Disable(AnyUser { user, .. })
            | Self::Enable(AnyUser { user, .. })
            | Self::SetPassword(user)
            | Self::Delete(user) => &user.telemetry,
            Self::List(list) => &list.telemetry,
        }
    }

    /// Does it.
    pub(super) async fn perform(self) -> Result<(), UsersError> {
        match self {
            Self::Add(NewUser { user, role }) => work::add(&user.name, role, &user.database).await,
            Self::SetRole(UserRole { user, role }) => {
                work::set_role(&user.name, role, &user.database).await
            }
            Self::List(list) => work::list(&list.from.source, list.json, &list.database).await,
            Self::Disable(AnyUser { user, from }) => {
                work::allow(&from.source, &user.name, false, &user.database).await
            }
            Self::Enable(AnyUser { user, from }) => {
                work::allow(&from.source, &user.name, true, &user.database).await
            }
            Self::SetPassword(user) => work::set_password(&user.name, &user.database).await,
            Self::Delete(user) => work::delete(&user.name, &user.database).await,
        }
    }
}
