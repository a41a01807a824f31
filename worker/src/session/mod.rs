//! Sessions: one task each, with a mailbox, that owns one R process.

mod actor;
mod console;
mod registry;
mod run;
mod text;

pub use actor::{Context, Mail};
pub use registry::Registry;
