//! Signing in against a directory: a real `slapd`, right and wrong names, groups, encryption, and servers that are away.

mod people;
mod renewals;
mod servers;
mod settings;

use serde_json::{Value, json};
use warren_tests::client::{Answer, Client};
use warren_tests::slapd::{PASSWORD, Slapd};
use warren_tests::{Builder, House};

const GROUPS: &str = "ou=groups,dc=example,dc=org";

/// A house whose API node asks this directory, with more settings.
async fn house_of(slapd: &Slapd, more: &[(&str, &str)]) -> House {
    let mut builder = Builder::new().workers(0);
    for (name, value) in slapd.settings() {
        builder = builder.env(name, &value);
    }
    for (name, value) in more {
        builder = builder.env(name, value);
    }
    builder.build().await
}

fn roles() -> [(&'static str, &'static str); 4] {
    [
        ("WARREN_LDAP_GROUP_BASE", GROUPS),
        ("WARREN_OWNER_GROUPS", "owners"),
        (
            "WARREN_CONTRIBUTOR_GROUPS",
            "CN=analysts,ou=groups,dc=example,dc=org",
        ),
        ("WARREN_READER_GROUPS", "readers; escaped"),
    ]
}

fn client(house: &House) -> Client {
    Client::anonymous(house.apis[0].addr)
}

async fn sign_in(client: &Client, user: &str, password: &str) -> Answer {
    let login = json!({"username": user, "password": password});
    client.post("/login", &login).await
}

async fn renew(client: &Client, tokens: &Value) -> Answer {
    let renewal = json!({ "refreshToken": tokens["refresh_token"] });
    client.post("/login/refreshToken", &renewal).await
}

fn with(client: &Client, tokens: &Value) -> Client {
    client.with_token(tokens["access_token"].as_str().unwrap())
}

async fn role(house: &House, subject: &str) -> String {
    let ask =
        format!("SELECT role FROM principals WHERE source = 'ldap' AND subject = '{subject}'");
    house.sql_value(&ask).await
}

/// How often the first API node has logged this.
fn logged(house: &House, text: &str) -> usize {
    let log = house.apis[0].process.log_text();
    assert!(!log.contains(PASSWORD), "{log}");
    log.matches(text).count()
}
