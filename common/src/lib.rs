//! What the API tier and the workers agree on.
//!
//! A module enters this crate only when both tiers use it. It knows neither HTTP routes nor R. In reading order:
//! [`id`] and [`model`] are the words, [`store`] is Postgres, [`queue`] is RabbitMQ, [`blobs`] is the object store,
//! [`paced`] is how bytes are handed on, [`config`], [`cli`], [`telemetry`], [`group`] and [`stop`] are how a program of Warren is put together.

pub mod blobs;
pub mod cli;
pub mod config;
pub mod group;
pub mod id;
pub mod model;
pub mod paced;
pub mod queue;
pub mod stop;
pub mod store;
pub mod telemetry;
