//! Publishing services, listing and deleting them.

pub mod delete;
pub mod list;
mod place;
pub mod publish;
mod request;

pub(super) use place::Place;
