//! End-to-end stories, on real PostgreSQL, RabbitMQ, S3 and R. Run them with `./dev test`.

#![expect(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod api_faults;
mod broker_faults;
mod docs;
mod doctor;
mod errors;
mod execute;
mod jobs;
mod notices;
mod postgres_faults;
mod sessions;
mod tokens;
mod worker_faults;
