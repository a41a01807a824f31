//! What a process tells about itself: logs, traces, metrics.

mod ask;
mod metrics;
mod probe;
mod trace;

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

pub use ask::{NotReady, ask_ready, ask_ready_over};
pub use metrics::{Metrics, metrics};
pub use probe::{Readiness, serve};
pub use trace::TraceContext;

use crate::config::{LogFormat, TelemetryConfig};

/// The log filter cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("WARREN_LOG is no log filter (expected a level, or target=level pairs)")]
pub struct BadFilter(#[source] tracing_subscriber::filter::ParseError);

/// Starts logging for this process, once.
pub fn start(config: &TelemetryConfig) -> Result<(), BadFilter> {
    let filter = EnvFilter::try_new(&config.filter).map_err(BadFilter)?;
    let registry = tracing_subscriber::registry().with(filter);
    // A second start in the same process keeps the first.
    let _ = match config.format {
        LogFormat::Text => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .with_ansi(std::io::stderr().is_terminal())
                    .with_writer(std::io::stderr),
            )
            .try_init(),
        LogFormat::Json => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .json()
                    .with_writer(std::io::stderr),
            )
            .try_init(),
    };
    Ok(())
}

/// An error and everything below it, on one line.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
