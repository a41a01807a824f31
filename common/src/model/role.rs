//! Roles: what a caller may do at most.

use super::words;

words! {
    /// What a caller may do at most; `api/src/auth/policy.rs` says what that is. In this order the highest counts.
    Role, "role" {
        /// Calls services, and sees what is its own.
        Reader = "reader",
        /// Runs code in sessions, too, and publishes services of its own.
        Contributor = "contributor",
        /// Changes every service, sees every batch, and says who may do what.
        Owner = "owner",
    }
}

impl Role {
    /// What the role may do comes on top of what those before it may.
    pub const fn is_at_least(self, other: Self) -> bool {
        self as u8 >= other as u8
    }
}
