//! Roles: every route, by whom, with whose things.

mod cast;
mod table;

use std::collections::BTreeSet;

use reqwest::multipart::{Form, Part};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use warren_tests::client::{Answer, Client};
use warren_tests::services::service;
use warren_tests::{Builder, House, wait};

use self::cast::Belongings;
use self::table::{OPEN, ROWS, Row, Sends, Verdict};

/// Somebody who asks, and what about.
struct Asker<'a> {
    name: &'static str,
    client: &'a Client,
    about: &'a Belongings,
}

#[tokio::test]
async fn every_route_is_for_whom_the_table_says() {
    let house = House::build().await;
    let (fay, ana) = (house.user("fay").await, house.user("ana").await);
    let (bob, vic) = (house.user("bob").await, house.user("vic").await);
    let rea = house.user_as("rea", "reader").await;
    let otto = house.user_as("otto", "owner").await;
    let root = house.admin().await;
    let of_fay = Belongings::of(&house, "fay", &fay).await;
    let of_ana = Belongings::of(&house, "ana", &ana).await;
    let of_otto = Belongings::of(&house, "otto", &otto).await;
    let of_vic = Belongings::of(&house, "vic", &vic).await;
    house
        .administer(&["users", "set-role", "fay", "reader"], "")
        .await;
    wait::until("the node has heard of it", async || {
        let refused = fay.post("/sessions", &json!({})).await.status;
        (refused == StatusCode::FORBIDDEN).then_some(())
    })
    .await;
    let ask = |name, client, about| Asker {
        name,
        client,
        about,
    };
    let askers = [
        [ask("fay", &fay, &of_fay), ask("rea", &rea, &of_vic)],
        [ask("ana", &ana, &of_ana), ask("bob", &bob, &of_vic)],
        [ask("otto", &otto, &of_otto), ask("root", &root, &of_vic)],
    ];
    let anonymous = Client::anonymous(house.apis[0].addr);
    let mut wrong = Vec::new();
    for row in ROWS {
        let nobody = ask("nobody", &anonymous, &of_vic);
        let answer = nobody.ask(row).await;
        if answer.status != StatusCode::UNAUTHORIZED {
            wrong.push(format!("{} by nobody: {}", row.route, answer.status));
        }
        for (askers, verdicts) in askers.iter().zip(row.verdicts) {
            for (asker, verdict) in askers.iter().zip(verdicts) {
                let answer = asker.ask(row).await;
                if !is(verdict, answer.status) {
                    let (status, body) = (answer.status, answer.body);
                    let line = format!(
                        "{} by {}: {status}, not {verdict:?}: {body}",
                        row.route, asker.name
                    );
                    wrong.push(line);
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn is(verdict: Verdict, status: StatusCode) -> bool {
    match verdict {
        Verdict::Yes => status.is_success(),
        Verdict::No => status == StatusCode::FORBIDDEN,
        Verdict::Hidden => status == StatusCode::NOT_FOUND,
        Verdict::Later => status == StatusCode::NOT_IMPLEMENTED,
    }
}

impl Asker<'_> {
    async fn ask(&self, row: &Row) -> Answer {
        let (method, pattern) = row.route.split_once(' ').unwrap();
        let path = self.about.path(pattern).replace("{me}", self.name);
        let request = self.client.request(method.parse().unwrap(), &path);
        let request = match row.sends {
            Sends::Nothing => request,
            Sends::Json(text) => {
                let body: Value = serde_json::from_str(&text.replace("{me}", self.name)).unwrap();
                request.json(&body)
            }
            Sends::File => {
                let part = Part::bytes(b"data".to_vec()).file_name("data.txt");
                request.multipart(Form::new().part("file", part))
            }
            Sends::Object => request.body(self.about.object.clone()),
        };
        self.client.send(request).await
    }
}

/// Whoever adds a route is told to say who may have it.
#[tokio::test]
async fn every_route_has_a_row() {
    let house = Builder::new().workers(0).build().await;
    let document = house.admin().await.get("/swagger.json").await.expect(200);
    let mut described = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            described.insert(plain(&format!("{} {path}", method.to_uppercase())));
        }
    }
    let is_later = |row: &&Row| row.verdicts[2][0] == Verdict::Later;
    let rows = ROWS.iter().filter(|row| !is_later(row));
    let rows = rows.map(|row| row.route).chain(OPEN.iter().copied());
    let rows: BTreeSet<String> = rows.map(plain).collect();
    assert_eq!(described, rows);
}

/// Whatever the parameters are called.
fn plain(route: &str) -> String {
    let parts = route.split('/');
    let parts = parts.map(|part| if part.contains('{') { "{}" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

/// A role that changes counts at every node within a second or so, without another sign-in.
#[tokio::test]
async fn another_role_counts_at_once_and_everywhere() {
    let house = Builder::new().apis(2).build().await;
    let here = house.user("ana").await;
    let there = here.at(house.apis[1].addr);
    let session = here.open_session().await;
    let is_answered = async |client: &Client, path: &str, status: StatusCode| {
        wait::until("the node has heard of it", async || {
            let answer = client.post(path, &json!({"code": "1"})).await;
            (answer.status == status).then_some(())
        })
        .await;
    };
    house
        .administer(&["users", "set-role", "ana", "reader"], "")
        .await;
    for client in [&here, &there] {
        is_answered(client, &session.path("/execute"), StatusCode::FORBIDDEN).await;
    }
    // It may still see what it has, and end it.
    here.get(&session.path("/history")).await.expect(200);
    house
        .administer(&["users", "set-role", "ana", "contributor"], "")
        .await;
    for client in [&here, &there] {
        is_answered(client, &session.path("/execute"), StatusCode::OK).await;
    }
    let nonsense = house
        .try_administer(&["users", "set-role", "ana", "king"], "")
        .await;
    let said = String::from_utf8_lossy(&nonsense.stderr).into_owned();
    assert!(
        !nonsense.status.success() && said.contains("king"),
        "{said}"
    );
    let listed = house.administer(&["users", "list"], "").await;
    assert!(listed.contains("ana    contributor  enabled"), "{listed}");
}

/// An owner publishes under any name, which stays its owner's; and reads code that others do not.
#[tokio::test]
async fn an_owner_publishes_under_the_name_of_somebody_else() {
    let house = House::build().await;
    let (ana, bob, root) = (
        house.user("ana").await,
        house.user("bob").await,
        house.admin().await,
    );
    let one = service("z <- 1", &[], &[("z", "numeric")]);
    ana.published("num", &one).await;
    root.publish("num", "v2", &one).await.expect(201);
    root.publish("num", "v2", &one).await.error(409);
    bob.publish("num", "v3", &one).await.error(403);
    let seen = bob.get("/services/num").await.expect(200);
    assert_eq!(seen[1]["owner"], "ana");
    assert_eq!(seen[1]["versionPublishedBy"], "admin");
    assert_eq!(seen[1]["myPermissionOnService"], "read only");
    assert!(seen[1]["code"].is_null());
    let seen = root.get("/services/num").await.expect(200);
    assert_eq!(seen[0]["code"], "z <- 1");
    assert_eq!(seen[0]["myPermissionOnService"], "read/write");
    // What was published under her name is hers to change.
    ana.patch("/services/num/v2", &json!({"description": "mine"}))
        .await
        .expect(200);
    ana.delete("/services/num/v2").await.expect(200);
}

#[tokio::test]
async fn owners_manage_users_over_http() {
    let house = Builder::new().workers(0).build().await;
    let root = house.admin().await;
    let new = json!({"name": "zoë /1", "password": "correct horse", "role": "reader"});
    let added = root.post("/users", &new).await.expect(201);
    assert_eq!(
        (&added["name"], &added["role"]),
        (&json!("zoë /1"), &json!("reader"))
    );
    assert_eq!(added["disabled"], false);
    root.post("/users", &new).await.error(409);
    for bad in [
        json!({"name": "", "password": "correct horse"}),
        json!({"name": "a\u{0}", "password": "correct horse"}),
        json!({"name": "x", "password": "short"}),
        json!({"name": "x", "password": "password1"}),
        json!({"name": "x", "password": "correct horse", "role": "king"}),
        json!({"name": "x"}),
    ] {
        root.post("/users", &bad).await.error(400);
    }
    let zoe = root.login("zoë /1", "correct horse").await;
    zoe.get("/users").await.error(403);
    let path = "/users/zo%C3%AB%20%2F1";
    let change = |change: Value| root.request(Method::PATCH, path).json(&change);
    let changed = root
        .send(change(json!({"role": "owner", "disabled": null})))
        .await
        .expect(200);
    assert_eq!(
        (&changed["role"], &changed["disabled"]),
        (&json!("owner"), &json!(false))
    );
    wait::until("she is an owner", async || {
        (zoe.get("/users").await.status == StatusCode::OK).then_some(())
    })
    .await;
    let listed = zoe.get("/users").await.expect(200);
    assert_eq!(listed[0]["name"], "admin");
    assert!(!listed.to_string().contains("argon2"), "{listed}");
    root.send(change(json!({"password": "another long one"})))
        .await
        .expect(200);
    zoe.login("zoë /1", "another long one").await;
    root.send(change(json!({"disabled": true})))
        .await
        .expect(200);
    zoe.get(path).await.error(401);
    // The last who can sign in with the role keeps it.
    let admin = "/users/admin";
    for last in [json!({"role": "reader"}), json!({"disabled": true})] {
        let request = root.request(Method::PATCH, admin).json(&last);
        root.send(request).await.error(409);
    }
    root.delete(admin).await.error(409);
    root.delete(path).await.expect(200);
    root.get(path).await.error(404);
    root.delete("/users/nobody").await.error(404);
    root.get("/users/%00").await.error(404);
    let nothing = root
        .request(Method::PATCH, "/users/nobody")
        .json(&json!({}));
    root.send(nothing).await.error(404);
}

/// Two owners who take the role from each other at the same moment do not both succeed.
#[tokio::test]
async fn one_owner_is_always_left() {
    let house = Builder::new().workers(0).build().await;
    let (root, otto) = (house.admin().await, house.user_as("otto", "owner").await);
    let demote = json!({"role": "reader"});
    let one = root.send(root.request(Method::PATCH, "/users/otto").json(&demote));
    let other = otto.send(otto.request(Method::PATCH, "/users/admin").json(&demote));
    let (one, other) = tokio::join!(one, other);
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    // The second may find that it has the role no more.
    assert!(
        statuses == [200, 409] || statuses == [200, 403],
        "{statuses:?}"
    );
    let owners = "SELECT count(*) FROM principals WHERE role = 'owner'";
    assert_eq!(house.sql_value(owners).await, "1");
}
