//! Who somebody is outside of Warren.

/// Somebody as a directory or an identity provider knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name that stays the same: owns things.
    pub subject: String,
    /// The groups that it is in, by every name that settings may call them.
    pub groups: Vec<String>,
}
