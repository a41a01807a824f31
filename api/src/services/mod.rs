//! Published services, as this node knows them.

pub mod document;
pub mod inputs;
pub mod targets;
