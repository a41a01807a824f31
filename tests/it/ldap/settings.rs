//! Settings that cannot be meant, and what they change of a house.

use warren_tests::client::Client;
use warren_tests::house::PASSWORD as LOCAL_PASSWORD;
use warren_tests::slapd::{PASSWORD, Slapd};

use super::{client, house_of, logged, renew, sign_in, with};

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
