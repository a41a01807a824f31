//! One endpoint, one file: request, reply, handler, tests.

mod accepted;
mod execution;
pub mod health;
pub mod jobs;
pub mod login;
pub mod sessions;
pub mod status;
pub mod swagger;
mod turn;
