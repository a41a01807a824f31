//! What becomes of whoever is signed in when the directory, or an operator, says otherwise.

use serde_json::{Value, json};
use warren_tests::audit::records_by;
use warren_tests::slapd::{PASSWORD, Slapd};
use warren_tests::wait;

use super::{GROUPS, client, house_of, renew, roles, sign_in, with};

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
    sign_in(&client, "bob", PASSWORD).await.error(401);
    let by_itself = records_by(&house, "(ldap)", 5).await;
    assert_eq!(
        by_itself,
        [
            ("add_user", "bob as contributor"),
            ("change_user", "bob: role owner"),
            ("add_user", "cleo as reader"),
            ("sign_out", "cleo: gone, or in no group with a role"),
            ("sign_out", "bob: gone, or in no group with a role"),
        ]
        .map(|(event, target)| format!("{event} {target}"))
    );
}

#[tokio::test]
async fn whoever_an_operator_disabled_is_refused_whatever_the_directory_says() {
    let slapd = Slapd::start().await;
    let house = house_of(&slapd, &roles()).await;
    let client = client(&house);
    let tokens = sign_in(&client, "bob", PASSWORD).await.expect(200);
    let of_ldap = ["users", "disable", "bob", "--source", "ldap"];
    house.administer(&of_ldap, "").await;
    wait::until("the node has heard of it", async || {
        let answer = with(&client, &tokens).get("/services").await;
        (answer.status == 401).then_some(())
    })
    .await;
    renew(&client, &tokens).await.error(401);
    sign_in(&client, "bob", PASSWORD).await.error(401);
    let list = ["users", "list", "--source", "ldap", "--json"];
    let listed: Value = serde_json::from_str(&house.administer(&list, "").await).unwrap();
    assert_eq!(
        (
            &listed[0]["name"],
            &listed[0]["role"],
            &listed[0]["disabled"]
        ),
        (&json!("bob"), &json!("contributor"), &json!(true))
    );
    let again = ["users", "enable", "bob", "--source", "ldap"];
    house.administer(&again, "").await;
    sign_in(&client, "bob", PASSWORD).await.expect(200);
    assert_eq!(
        records_by(&house, "(command line)", 2).await,
        ["disabled", "enabled"].map(|state| format!("change_user bob of ldap: {state}"))
    );
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
