//! Sessions: one task each, with a mailbox, that owns one R process.

mod actor;
mod aside;
mod chunks;
mod console;
mod ending;
mod registry;
mod run;
mod text;

pub use actor::{Context, Mail};
pub use registry::Registry;
