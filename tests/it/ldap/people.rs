//! Who gets in, as what, under which names.

use serde_json::json;
use warren_tests::slapd::{PASSWORD, Slapd};

use super::{client, house_of, logged, role, roles, sign_in, with};

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
    // Whoever did sign in is in the records of that, and nobody anywhere else.
    assert_eq!(logged(&house, "example.org"), 2);
}
