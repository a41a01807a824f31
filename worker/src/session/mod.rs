//! Sessions: one task each, with a mailbox, that owns one R process.

mod actor;
mod aside;
mod chunks;
mod console;
mod conversation;
mod ending;
mod execute;
mod moving;
mod objects;
mod registry;
mod run;
mod snapshots;
mod text;

pub use actor::{Begin, Context, Mail};
pub use registry::Registry;
