//! Somebody, before Warren has a principal for them.

/// Somebody as a provider knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Who it is, for ever: owns what they make.
    pub subject: String,
    /// The groups or roles that the provider puts them in.
    pub groups: Vec<String>,
}
