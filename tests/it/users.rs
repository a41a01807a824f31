//! Local users, as operators manage them, and people who guess their passwords.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use warren_tests::client::{Answer, Client};
use warren_tests::house::PASSWORD;
use warren_tests::{Builder, House, wait};

const ANOTHER: &str = "quite another password";

async fn sign_in(client: &Client, user: &str, password: &str) -> Answer {
    let login = json!({"username": user, "password": password});
    client.post("/login", &login).await
}

/// Waits until a node refuses the tokens of this caller.
async fn is_refused(caller: &Client) {
    wait::until("the node has heard of it", async || {
        (caller.get("/sessions").await.status == 401).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_disabled_user_is_refused_with_all_its_tokens_until_enabled_again() {
    let house = House::build().await;
    let ana = house.user("ana").await;
    let bob = house.user("bob").await;
    house.administer(&["users", "disable", "ana"], "").await;
    is_refused(&ana).await;
    sign_in(&ana, "ana", PASSWORD).await.error(401);
    bob.get("/sessions").await.expect(200);
    house.administer(&["users", "enable", "ana"], "").await;
    // What was ended stays so.
    ana.get("/sessions").await.error(401);
    sign_in(&ana, "ana", PASSWORD).await.expect(200);
}

/// Most sign-ins of a user have no access token any more. They are not touched, and not renewed either.
#[tokio::test]
async fn sign_ins_from_before_a_change_are_not_renewed_whatever_their_access_tokens() {
    let house = House::build().await;
    let ana = house.user("ana").await;
    let tokens = sign_in(&ana, "ana", PASSWORD).await.expect(200);
    house
        .sql("UPDATE token_families SET access_until = now()")
        .await;
    house.administer(&["users", "disable", "ana"], "").await;
    house.administer(&["users", "enable", "ana"], "").await;
    let renewal = json!({ "refreshToken": tokens["refresh_token"] });
    ana.post("/login/refreshToken", &renewal).await.error(401);
    let tokens = sign_in(&ana, "ana", PASSWORD).await.expect(200);
    let renewal = json!({ "refreshToken": tokens["refresh_token"] });
    ana.post("/login/refreshToken", &renewal).await.expect(200);
}

#[tokio::test]
async fn another_password_ends_every_sign_in_with_the_one_before() {
    let house = House::build().await;
    let ana = house.user("ana").await;
    let tokens = sign_in(&ana, "ana", PASSWORD).await.expect(200);
    let changed = format!("{ANOTHER}\n");
    house
        .administer(&["users", "set-password", "ana"], &changed)
        .await;
    is_refused(&ana).await;
    let renewal = json!({ "refreshToken": tokens["refresh_token"] });
    ana.post("/login/refreshToken", &renewal).await.error(401);
    sign_in(&ana, "ana", PASSWORD).await.error(401);
    sign_in(&ana, "ana", ANOTHER).await.expect(200);
}

#[tokio::test]
async fn a_deleted_user_is_gone_and_nobody_inherits_its_things() {
    let house = House::build().await;
    let ana = house.user("ana").await;
    house.user("bob").await;
    house.administer(&["users", "disable", "bob"], "").await;
    let listed = house.administer(&["users", "list"], "").await;
    assert!(listed.contains("ana    contributor  enabled"), "{listed}");
    assert!(listed.contains("bob    contributor  disabled"), "{listed}");
    house.administer(&["users", "delete", "ana"], "").await;
    is_refused(&ana).await;
    sign_in(&ana, "ana", PASSWORD).await.error(401);
    let listed = house.administer(&["users", "list", "--json"], "").await;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let names: Vec<&Value> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|user| &user["name"])
        .collect();
    assert_eq!(names, ["admin", "bob"]);
    let again = house
        .try_administer(&["users", "add", "ana"], "a long password\n")
        .await;
    assert!(!again.status.success());
    for task in ["disable", "enable", "delete"] {
        let nobody = house.try_administer(&["users", task, "ana"], "").await;
        let said = String::from_utf8_lossy(&nobody.stderr).into_owned();
        assert!(
            !nobody.status.success() && said.contains("users list"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn passwords_that_are_guessed_first_cannot_be_set() {
    let house = House::build().await;
    for (password, why) in [
        ("short", "at least 8 characters"),
        ("Password1", "commonest"),
        ("ANACLETUS", "name of the user"),
    ] {
        let typed = format!("{password}\n");
        let refused = house
            .try_administer(&["users", "add", "anacletus"], &typed)
            .await;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains(why), "{said}");
        assert!(!said.contains(password), "{said}");
    }
}

/// Failures are counted by all nodes together, and the right password has to wait as well.
#[tokio::test]
async fn after_five_failures_a_sign_in_has_to_wait() {
    let house = Builder::new().apis(2).build().await;
    let [here, there] = [house.apis[0].addr, house.apis[1].addr].map(Client::anonymous);
    house.user("ana").await;
    let places = "SELECT count(*) FROM login_failures";
    let mut refused = Vec::new();
    for client in [&here, &there, &here, &there, &here] {
        refused.push(sign_in(client, "ana", "wrong password").await.error(401));
    }
    assert_eq!(
        house.sql_value("SELECT failures FROM login_failures").await,
        "5"
    );
    // Nobody else waits, however many failures there are of her.
    sign_in(&there, "admin", PASSWORD).await.expect(200);
    let began = Instant::now();
    refused.push(sign_in(&there, "ana", "wrong password").await.error(401));
    assert!(began.elapsed() >= Duration::from_millis(950));
    refused.dedup();
    assert_eq!(refused.len(), 1);
    let began = Instant::now();
    sign_in(&there, "ana", PASSWORD).await.expect(200);
    assert!(began.elapsed() >= Duration::from_millis(1950));
    assert_eq!(house.sql_value(places).await, "0");
    // One that waits for nothing holds no place that others would have to wait behind.
    for _ in 0..5 {
        sign_in(&here, "ana", "wrong password").await.error(401);
    }
    house
        .sql("UPDATE login_failures SET free_at = now() + interval '1 hour'")
        .await;
    let taken = "SELECT free_at FROM login_failures";
    let before = house.sql_value(taken).await;
    let answer = sign_in(&there, "ana", PASSWORD).await;
    assert!(!answer.header("Retry-After").is_empty());
    answer.error(429);
    assert_eq!(house.sql_value(taken).await, before);
    house.sql("DELETE FROM login_failures").await;
    // Names that nobody has are counted like others: nobody can tell which there are.
    sign_in(&here, "nobody", "wrong password").await.error(401);
    assert_eq!(house.sql_value(places).await, "1");
    let long_ago =
        "UPDATE login_failures SET failures = 100, last_at = now() - interval '16 minutes'";
    house.sql(long_ago).await;
    sign_in(&here, "nobody", "wrong password").await.error(401);
    assert_eq!(
        house.sql_value("SELECT failures FROM login_failures").await,
        "1"
    );
}
