//! What the command lines of both programs have in common.

use std::ffi::{OsStr, OsString};

use clap::{Args, Command, CommandFactory};

/// `warren-x` and `warren-x --option …` mean `warren-x serve …`.
pub fn with_default_task(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let first = arguments.get(1).and_then(|first| first.to_str());
    let is_option = first.is_none_or(|first| {
        first.starts_with('-') && !matches!(first, "-h" | "--help" | "-V" | "--version")
    });
    if is_option {
        arguments.insert(1.min(arguments.len()), "serve".into());
    }
    arguments
}

/// The command line `Cli`, whose help also lists every setting of its command `serve`.
pub fn command<Cli: CommandFactory, Serve: Args>() -> Command {
    let settings = named_after_variables(Serve::augment_args(Command::new("serve")))
        .disable_help_flag(true)
        .help_template("Settings of serve, each an option or an environment variable:\n{options}")
        .render_help();
    Cli::command()
        .after_help(settings)
        .mut_subcommands(named_after_variables)
}

/// Messages about an option then name its variable, which is what most people set.
fn named_after_variables(command: Command) -> Command {
    command
        .mut_subcommands(named_after_variables)
        .mut_args(|argument| {
            match argument
                .get_env()
                .and_then(OsStr::to_str)
                .map(str::to_owned)
            {
                Some(variable) => argument.value_name(variable),
                None => argument,
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn serve_is_what_it_does_unless_told_otherwise() {
        for (given, meant) in [
            ("warren-api", "warren-api serve"),
            (
                "warren-api --listen 127.0.0.1:0",
                "warren-api serve --listen 127.0.0.1:0",
            ),
            ("warren-api migrate", "warren-api migrate"),
            ("warren-api --help", "warren-api --help"),
        ] {
            assert_eq!(with_default_task(words(given)), words(meant));
        }
    }
}
