//! `warren-api`: see [`warren_api::cli`].

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    warren_api::cli::main().await
}
