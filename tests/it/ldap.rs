//! Signing in against a directory: a real `slapd`, right and wrong names, groups, encryption, and servers that are away.

use std::net::TcpListener;

use serde_json::{Value, json};
use warren_tests::client::{Answer, Client};
use warren_tests::house::PASSWORD as LOCAL_PASSWORD;
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

#[tokio::test]
async fn groups_give_roles_and_who_is_in_none_is_refused() {
    let slapd = Slapd::start().await;
    let house = house_of(&slapd, &roles()).await;
    let client = client(&house);
    // By memberOf; by the search of groups, as memberUid and as uniqueMember with a DN that has to be escaped.
    for (user, role_of, users, sessions) in [
        ("ana", "owner", 200, 400),
        ("bob", "contributor", 403, 400),
        ("cleo", "reader", 403, 403),
        ("eve)(uid=*\\,", "reader", 403, 403),
    ] {
        let tokens = sign_in(&client, user, PASSWORD).await.expect(200);
        assert_eq!(role(&house, user).await, role_of);
        let caller = with(&client, &tokens);
        caller.get("/users").await.expect(users);
        let no_session = json!({ "snapshotId": "none" });
        caller.post("/sessions", &no_session).await.expect(sessions);
    }
    let refused = sign_in(&client, "dan", PASSWORD).await.error(403);
    assert!(refused.contains("groups"), "{refused}");
    sign_in(&client, "dan", "wrong").await.error(401);
}

#[tokio::test]
async fn only_the_right_password_of_the_right_name_is_let_in() {
    let slapd = Slapd::start().await;
    let house = house_of(&slapd, &[]).await;
    let client = client(&house);
    let wrong = sign_in(&client, "ana", "wrong").await.error(401);
    for (user, password) in [
        ("nobody", PASSWORD),
        ("ana", ""),
        ("nobody", ""),
        ("", ""),
        ("", PASSWORD),
        ("*", PASSWORD),
        ("an*", PASSWORD),
        ("ana)(uid=*", PASSWORD),
        ("*)(objectClass=*", PASSWORD),
        ("ana)(|(uid=*)", PASSWORD),
        ("\\2a", PASSWORD),
        ("\\61na", PASSWORD),
        ("a\0na", PASSWORD),
        ("ana\0", PASSWORD),
        ("\u{202e}ana", "wrong"),
        ("uid=ana,ou=people,dc=example,dc=org", PASSWORD),
        (&"x".repeat(10_000), PASSWORD),
        (&"*".repeat(10_000), PASSWORD),
        ("ana", &"x".repeat(10_000)),
    ] {
        assert_eq!(sign_in(&client, user, password).await.error(401), wrong);
    }
    assert_eq!(
        house
            .sql_value("SELECT count(*) FROM principals WHERE source = 'ldap'")
            .await,
        "0"
    );
    // What would be a filter is a name like others where somebody has it.
    for (user, subject) in [
        ("ana", "ana"),
        ("ANA", "ana"),
        ("żółw", "żółw"),
        ("eve)(uid=*\\,", "eve)(uid=*\\,"),
    ] {
        sign_in(&client, user, PASSWORD).await.expect(200);
        assert_eq!(role(&house, subject).await, "contributor");
    }
    assert_eq!(
        house
            .sql_value("SELECT count(*) FROM principals WHERE source = 'ldap'")
            .await,
        "3"
    );
    logged(&house, "");
}

#[tokio::test]
async fn failures_of_a_name_count_together_however_it_is_written() {
    let slapd = Slapd::start().await;
    let house = house_of(&slapd, &[]).await;
    let client = client(&house);
    for name in ["bob", "BOB", " bob ", "b\u{ad}ob", "\u{ff42}ob"] {
        sign_in(&client, name, "wrong").await.error(401);
    }
    let failures = "SELECT string_agg(failures::text, ' ') FROM login_failures";
    assert_eq!(house.sql_value(failures).await, "5");
}

#[tokio::test]
async fn names_that_are_not_plain_are_refused_and_the_log_says_which_setting() {
    let slapd = Slapd::start().await;
    let mail = [("WARREN_LDAP_SUBJECT_ATTRIBUTE", "mail")];
    let house = house_of(&slapd, &mail).await;
    let client = client(&house);
    sign_in(&client, "twin", PASSWORD).await.error(401);
    assert_eq!(logged(&house, "WARREN_LDAP_FILTER finds several"), 1);
    sign_in(&client, "ana", PASSWORD).await.expect(200);
    assert_eq!(role(&house, "ana@example.org").await, "contributor");
    sign_in(&client, "bob", PASSWORD).await.error(401);
    assert_eq!(logged(&house, "has several values attribute=\"mail\""), 1);
    sign_in(&client, "cleo", PASSWORD).await.error(401);
    assert_eq!(
        logged(&house, "is missing, or no text attribute=\"mail\""),
        1
    );
    // Whoever did sign in is in the record of that, and nobody anywhere else.
    assert_eq!(logged(&house, "example.org"), 1);
}

#[tokio::test]
async fn a_renewal_takes_the_role_of_the_groups_as_they_are_and_refuses_whoever_is_gone() {
    let slapd = Slapd::start().await;
    let house = house_of(&slapd, &roles()).await;
    let client = client(&house);
    let tokens = sign_in(&client, "bob", PASSWORD).await.expect(200);
    with(&client, &tokens).get("/users").await.error(403);
    slapd
        .change(&format!(
            "dn: cn=owners,{GROUPS}\nchangetype: modify\nadd: member\nmember: uid=bob,ou=people,dc=example,dc=org\n"
        ))
        .await;
    let tokens = renew(&client, &tokens).await.expect(200);
    with(&client, &tokens).get("/users").await.expect(200);
    // Out of every group.
    let other = sign_in(&client, "cleo", PASSWORD).await.expect(200);
    slapd
        .change(&format!("dn: cn=readers,{GROUPS}\nchangetype: delete\n"))
        .await;
    renew(&client, &other).await.error(401);
    with(&client, &other).get("/services").await.error(401);
    slapd
        .change("dn: uid=bob,ou=people,dc=example,dc=org\nchangetype: delete\n")
        .await;
    let gone = renew(&client, &tokens).await.error(401);
    with(&client, &tokens).get("/users").await.error(401);
    assert_eq!(renew(&client, &tokens).await.error(401), gone);
    assert_eq!(logged(&house, "A sign-in was ended"), 2);
    sign_in(&client, "bob", PASSWORD).await.error(401);
}

#[tokio::test]
async fn the_filter_keeps_people_out_also_at_renewals() {
    let slapd = Slapd::start().await;
    let filter = "(&(uid={user})(memberOf=cn=analysts,ou=groups,dc=example,dc=org))";
    let house = house_of(&slapd, &[("WARREN_LDAP_FILTER", filter)]).await;
    let client = client(&house);
    sign_in(&client, "dan", PASSWORD).await.error(401);
    let tokens = sign_in(&client, "bob", PASSWORD).await.expect(200);
    slapd
        .change(&format!(
            "dn: cn=analysts,{GROUPS}\nchangetype: modify\ndelete: member\nmember: uid=bob,ou=people,dc=example,dc=org\n"
        ))
        .await;
    renew(&client, &tokens).await.error(401);
    sign_in(&client, "bob", PASSWORD).await.error(401);
}

#[tokio::test]
async fn a_directory_that_is_away_refuses_nobody_for_good() {
    let mut slapd = Slapd::start().await;
    let house = house_of(&slapd, &[]).await;
    let client = client(&house);
    let tokens = sign_in(&client, "ana", PASSWORD).await.expect(200);
    slapd.crash().await;
    let answer = sign_in(&client, "ana", PASSWORD).await;
    assert!(!answer.header("Retry-After").is_empty());
    let told = answer.error(503);
    assert_eq!(told, "the directory cannot be reached; try again later");
    assert_eq!(
        logged(&house, "no server of WARREN_LDAP_URL can be used"),
        1
    );
    assert_eq!(renew(&client, &tokens).await.error(503), told);
    with(&client, &tokens).get("/services").await.expect(200);
    slapd.start_again().await;
    renew(&client, &tokens).await.expect(200);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_left_in_time_for_the_next() {
    let slapd = Slapd::start().await;
    let house = house_of(&slapd, &[("WARREN_LDAP_TIMEOUT_SECONDS", "1")]).await;
    // The system takes connections for it, and nobody ever reads them.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = format!("ldap://{}", mute.local_addr().unwrap());
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = format!("ldap://{}", free.local_addr().unwrap());
    drop(free);
    let good = format!("ldap://{}", slapd.plain());
    let mut house = house;
    for (servers, status) in [
        (mute.clone(), 503),
        (format!("{mute},{gone}"), 503),
        (format!("{gone},{mute},{good}"), 200),
    ] {
        let settings = [("WARREN_LDAP_URL", servers.as_str())];
        let api = house.add_api_via(house.database.server, &settings).await;
        let client = Client::anonymous(house.apis[api].addr);
        sign_in(&client, "ana", PASSWORD).await.expect(status);
    }
}

#[tokio::test]
async fn certificates_are_checked_whichever_way_a_connection_is_encrypted() {
    let slapd = Slapd::start().await;
    let elsewhere = Slapd::start_as(&["elsewhere.example.org"]).await;
    let mut house = house_of(&slapd, &[]).await;
    let secured = format!("ldaps://{}", slapd.encrypted());
    let named = format!("ldaps://localhost:{}", slapd.encrypted().port());
    let upgraded = format!("ldap://{}", slapd.plain());
    let misnamed = format!("ldaps://{}", elsewhere.encrypted());
    let misnamed_upgraded = format!("ldap://{}", elsewhere.plain());
    for (url, starttls, ca, trouble) in [
        (&secured, "false", Some(slapd.ca()), None),
        (&named, "false", Some(slapd.ca()), None),
        (&upgraded, "true", Some(slapd.ca()), None),
        (
            &secured,
            "false",
            Some(slapd.other_ca()),
            Some("certificate"),
        ),
        (
            &upgraded,
            "true",
            Some(slapd.other_ca()),
            Some("certificate"),
        ),
        (&secured, "false", None, Some("UnknownIssuer")),
        (
            &misnamed,
            "false",
            Some(elsewhere.ca()),
            Some("not valid for name"),
        ),
        (
            &misnamed_upgraded,
            "true",
            Some(elsewhere.ca()),
            Some("not valid for name"),
        ),
    ] {
        let ca = ca.map(|ca| ca.to_string_lossy().into_owned());
        let mut settings = vec![
            ("WARREN_LDAP_URL", url.as_str()),
            ("WARREN_LDAP_STARTTLS", starttls),
        ];
        settings.extend(ca.as_deref().map(|ca| ("WARREN_LDAP_CA", ca)));
        let api = house.add_api_via(house.database.server, &settings).await;
        let client = Client::anonymous(house.apis[api].addr);
        let answer = sign_in(&client, "ana", PASSWORD).await;
        match trouble {
            None => drop(answer.expect(200)),
            Some(text) => {
                let told = answer.error(503);
                assert!(!told.contains("certificate"), "{told}");
                let log = house.apis[api].process.log_text();
                assert!(log.contains(text), "{settings:?}: {log}");
            }
        }
    }
}

#[tokio::test]
async fn settings_that_cannot_be_meant_stop_the_start() {
    let slapd = Slapd::start().await;
    let mut house = house_of(&slapd, &[]).await;
    for (variable, value, url) in [
        ("WARREN_LDAP_URL", "ldap://192.0.2.1", None),
        ("WARREN_LDAP_BASE", "", None),
        (
            "WARREN_LDAP_CA",
            "/nowhere/ca.pem",
            Some("ldaps://localhost"),
        ),
        ("WARREN_LDAP_FILTER", "(uid=ana)", None),
    ] {
        let mut settings = vec![(variable, value)];
        settings.extend(url.map(|url| ("WARREN_LDAP_URL", url)));
        let api = house.start_api_via(house.database.server, &settings).await;
        let process = &mut house.apis[api].process;
        assert!(!process.ended().await.success());
        let log = process.log_text();
        assert!(log.contains(variable) && !log.contains(PASSWORD), "{log}");
    }
}

#[tokio::test]
async fn a_wrong_account_for_searches_is_a_fault_of_the_settings() {
    let slapd = Slapd::start().await;
    let wrong = [("WARREN_LDAP_BIND_PASSWORD", "hunter2")];
    let house = house_of(&slapd, &wrong).await;
    sign_in(&client(&house), "ana", PASSWORD).await.error(500);
    assert_eq!(
        logged(
            &house,
            "refuses WARREN_LDAP_BIND_DN and WARREN_LDAP_BIND_PASSWORD"
        ),
        1
    );
    assert_eq!(logged(&house, "hunter2"), 0);
}

#[tokio::test]
async fn local_users_and_those_of_the_directory_are_never_in_one_house() {
    let slapd = Slapd::start().await;
    let mut house = house_of(&slapd, &[]).await;
    let here = client(&house);
    let local = house
        .add_api_via(house.database.server, &[("WARREN_LDAP_URL", "")])
        .await;
    let there = Client::anonymous(house.apis[local].addr);
    let admin = sign_in(&there, "admin", LOCAL_PASSWORD).await.expect(200);
    let ana = sign_in(&here, "ana", PASSWORD).await.expect(200);
    sign_in(&here, "admin", LOCAL_PASSWORD).await.error(401);
    sign_in(&there, "ana", PASSWORD).await.error(401);
    with(&here, &admin).get("/services").await.error(401);
    with(&there, &ana).get("/services").await.error(401);
    renew(&here, &admin).await.error(401);
    renew(&there, &ana).await.error(401);
    // Nothing was spent by that.
    renew(&there, &admin).await.expect(200);
    renew(&here, &ana).await.expect(200);
}
