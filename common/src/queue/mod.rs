//! RabbitMQ: it wakes people up, Postgres is the truth.
//!
//! Losing every message, or getting every message twice, changes no outcome. [`Notice`] is what travels,
//! [`Topology`] declares where, [`Broker`] keeps the connection, publishes with confirms and consumes.

mod broker;
mod consumer;
mod notice;
mod topology;

pub use broker::{BadAddress, Broker, PublishError, Sent};
pub use consumer::{Consumer, Delivery, Event, Settle};
pub use notice::{Finished, Notice};
pub use topology::{QueueName, Role, Topology};
