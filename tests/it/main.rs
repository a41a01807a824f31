//! End-to-end stories, on real PostgreSQL, RabbitMQ, S3 and R. Run them with `./dev test`.

#![expect(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod api_faults;
mod audit;
mod blobs;
mod broker_faults;
mod cancels;
mod closes;
mod console;
mod docs;
mod doctor;
mod drains;
mod endings;
mod errors;
mod events;
mod execute;
mod fences;
mod files;
mod fleet;
mod garage;
mod history;
mod host_faults;
mod idle;
mod injections;
mod jobs;
mod ldap;
mod notices;
mod openid;
mod packages;
mod postgres_faults;
mod quota;
mod readers;
mod retention;
mod roles;
mod sandbox;
mod services;
mod sessions;
mod snapshots;
mod storm;
mod tokens;
mod transport;
mod upgrades;
mod users;
mod waiting;
mod worker_faults;
mod workspace;
