//! The pages that operators rely on say what the programs say.

pub(crate) mod pages;
mod signing_in;

use std::collections::BTreeSet;

use warren_tests::process::program;

/// Words that begin with `WARREN_`.
fn variables(text: &str) -> BTreeSet<&str> {
    text.split(|letter: char| {
        !(letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_')
    })
    .filter(|word| word.starts_with("WARREN_"))
    .collect()
}

#[test]
fn every_setting_is_in_the_operations_page_and_every_line_there_is_a_setting() {
    let page = include_str!("../../docs/OPERATIONS.md");
    let settings = page.split_once("## Settings").unwrap().1;
    let mut known = String::new();
    for name in ["warren-api", "warren-worker"] {
        let help = std::process::Command::new(program(name))
            .args(["serve", "--help"])
            .env_clear()
            .output()
            .unwrap();
        assert!(help.status.success());
        known.push_str(&String::from_utf8(help.stdout).unwrap());
    }
    assert_eq!(variables(settings), variables(&known));
}

#[test]
fn every_default_in_the_operations_page_is_that_of_the_program() {
    let page = include_str!("../../docs/OPERATIONS.md");
    let mut compared = 0;
    for name in ["warren-api", "warren-worker"] {
        let help = std::process::Command::new(program(name))
            .args(["serve", "--help"])
            .env_clear()
            .output()
            .unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        for setting in help.split("[env: ").skip(1) {
            let variable = setting.split(['=', ']']).next().unwrap();
            let own = setting.split("\n      --").next().unwrap();
            let Some((_, default)) = own.split_once("[default: ") else {
                continue;
            };
            let default = default.split(']').next().unwrap();
            let default = if default == "\"\"" { "empty" } else { default };
            let line = format!("| `{variable}` | ");
            let told = page
                .split(&line)
                .nth(1)
                .unwrap_or_else(|| panic!("no line: {line}"));
            let told = told.split(" |").next().unwrap().trim_matches('`');
            let told = told.replace("\\|", "|");
            assert_eq!(told, default, "{variable}");
            compared += 1;
        }
    }
    assert!(compared > 20, "{compared}");
}

#[test]
fn a_wrong_value_stops_the_start_and_names_its_variable() {
    for (name, variable, value) in [
        ("warren-api", "WARREN_TOKEN_SECONDS", "soon"),
        ("warren-worker", "WARREN_SESSION_SLOTS", "many"),
    ] {
        let secret = "postgres://warren:hunter2@127.0.0.1:1/warren";
        let output = std::process::Command::new(program(name))
            .arg("serve")
            .env_clear()
            .envs([
                ("WARREN_DATABASE_URL", secret),
                ("WARREN_AMQP_URL", secret),
                (variable, value),
            ])
            .envs([
                ("WARREN_S3_ENDPOINT", "http://127.0.0.1:1"),
                ("WARREN_S3_ACCESS_KEY", "a"),
            ])
            .env("WARREN_S3_SECRET_KEY", "hunter2")
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success());
        assert!(
            printed.contains(variable) && printed.contains(value),
            "{printed}"
        );
        assert!(!printed.contains("hunter2"), "{printed}");
    }
}

#[test]
fn a_server_that_is_missing_at_start_is_named() {
    let nowhere = [
        (
            "WARREN_DATABASE_URL",
            "postgres://warren:hunter2@127.0.0.1:1/warren",
        ),
        ("WARREN_AMQP_URL", "amqp://warren:hunter2@127.0.0.1:1/%2f"),
        ("WARREN_S3_ENDPOINT", "http://127.0.0.1:1"),
        ("WARREN_S3_ACCESS_KEY", "a"),
        ("WARREN_S3_SECRET_KEY", "hunter2"),
        ("WARREN_LISTEN", "127.0.0.1:0"),
    ];
    for name in ["warren-api", "warren-worker"] {
        let output = std::process::Command::new(program(name))
            .arg("serve")
            .env_clear()
            .envs(nowhere)
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success());
        assert!(
            printed.contains("PostgreSQL") && printed.contains("WARREN_DATABASE_URL"),
            "{printed}"
        );
        assert!(!printed.contains("hunter2"), "{printed}");
    }
}
