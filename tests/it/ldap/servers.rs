//! Servers that are away, do not answer, or are not who they should be.

use std::net::TcpListener;

use warren_tests::client::Client;
use warren_tests::slapd::{PASSWORD, Slapd};

use super::{client, house_of, logged, renew, sign_in, with};

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
