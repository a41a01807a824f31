//! Who is calling, and what that is good for.

pub mod admit;
mod cache;
pub mod groups;
pub mod identity;
pub mod ldap;
pub mod openid;
pub mod password;
pub mod password_rules;
pub mod policy;
mod standings;
pub mod throttle;
pub mod tokens;
pub mod user_name;

use warren_common::id::PrincipalId;
use warren_common::model::Role;
use warren_common::store::services::Publisher;

use self::policy::{Action, Whose, permits};

/// Whoever a token was issued to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Owns what the request makes.
    pub id: PrincipalId,
    /// Shown as owner.
    pub name: String,
    /// What it may do.
    pub role: Role,
}

impl Caller {
    /// Whether it may do this with what belongs to somebody else.
    fn may_with_others(&self, action: Action) -> bool {
        permits(self.role, action, Whose::Others)
    }

    /// Whose batches it sees; `None`: everybody's.
    pub fn sees_batches_of(&self) -> Option<PrincipalId> {
        (!self.may_with_others(Action::ReadBatch)).then_some(self.id)
    }

    /// As who it publishes, changes and deletes services.
    pub fn publisher(&self) -> Publisher {
        Publisher {
            id: self.id,
            any: self.may_with_others(Action::Publish),
        }
    }
}
