//! One endpoint, one file: request, reply, handler, tests.

mod accepted;
pub mod batches;
pub mod calls;
mod download;
mod execution;
pub mod files;
pub mod health;
pub mod jobs;
pub mod services;
pub mod sessions;
pub mod snapshots;
pub mod status;
pub mod swagger;
pub mod tokens;
mod turn;
mod unclaimed;
pub mod users;
pub mod workspace;
