//! `warren-api`: see [`warren_api::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    warren_api::cli::main()
}
