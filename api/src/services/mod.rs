//! Published services, as this node knows them.

pub mod document;
pub mod inputs;
pub mod records;
pub mod targets;
