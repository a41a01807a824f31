//! End-to-end stories, on real PostgreSQL, RabbitMQ, S3 and R. Run them with `./dev test`.

#![expect(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod api_faults;
mod broker_faults;
mod cancels;
mod closes;
mod console;
mod docs;
mod doctor;
mod drains;
mod endings;
mod errors;
mod execute;
mod fences;
mod fleet;
mod host_faults;
mod jobs;
mod notices;
mod packages;
mod postgres_faults;
mod sessions;
mod storm;
mod tokens;
mod upgrades;
mod worker_faults;
