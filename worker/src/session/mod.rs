//! Sessions: one task each, with a mailbox, that owns one R process.

mod actor;
mod aside;
mod execute;
mod objects;
mod registry;
mod run;
mod snapshots;

pub use actor::Begin;
pub use registry::Registry;
