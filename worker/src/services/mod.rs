//! Published services: taking their calls, running each in a fresh fork of a parent that has the service in memory.
//!
//! In reading order: [`Calls`] takes jobs, `call` runs one, `parents` keeps what calls are forked from, `prepare` starts one, and
//! `publish` makes a version.

mod call;
mod calls;
mod parents;
mod prepare;
mod publish;

pub use calls::Calls;
