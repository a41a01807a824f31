//! Names, forms and files that are refused.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::json;
use warren_tests::{Builder, House, WorkerOptions, wait};

use super::pattern;

#[tokio::test]
async fn names_are_checked_and_decoded_once() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    for (sent, name) in [
        ("../../up.txt", "up.txt"),
        ("C:\\data\\win.txt", "win.txt"),
        ("50%25", "50%25"),
        ("ünï ☃.txt", "ünï ☃.txt"),
        ("-rf *", "-rf *"),
    ] {
        session.put_file(sent, name.as_bytes()).await;
    }
    let names = json!(["-rf *", "50%25", "up.txt", "win.txt", "ünï ☃.txt"]);
    assert_eq!(session.files().await, names);
    assert_eq!(session.get_file("50%2525").await.expect(200), b"50%25");
    session.get_file("50%25").await.expect(404);
    let snow = session.get_file("%C3%BCn%C3%AF%20%E2%98%83.txt").await;
    assert_eq!(
        snow.header("Content-Disposition"),
        "attachment; filename=\"_n_ _.txt\"; filename*=UTF-8''%C3%BCn%C3%AF%20%E2%98%83.txt"
    );
    assert_eq!(snow.expect(200), "ünï ☃.txt".as_bytes());
    let long = "x".repeat(256);
    for bad in ["..", ".", "...", "a/", "", &long] {
        let upload = session.upload(&[("good", b""), (bad, b"")]);
        session.client.send(upload).await.error(400);
    }
    for bad in [
        "a%2Fb",
        "a%5Cb",
        "a%00b",
        "%2E%2E%2Fwork",
        "...",
        "a%0Ab",
        &long,
    ] {
        session
            .client
            .get(&session.path(&format!("/files/{bad}")))
            .await
            .error(400);
        session
            .client
            .delete(&session.path(&format!("/files/{bad}")))
            .await
            .error(400);
    }
    // All or nothing: what came with a bad name did not come.
    assert_eq!(session.files().await, names);
}

#[tokio::test]
async fn a_form_that_makes_no_sense_is_refused() {
    let mut house = Builder::new().apis(0).build().await;
    let limit = [("WARREN_UPLOAD_MAX_BYTES", "200000")];
    house.add_api_via(house.database.server, &limit).await;
    let client = house.admin().await;
    let session = client.open_session().await;
    let post = || client.request(Method::POST, &session.path("/files"));
    client.send(post().json(&json!({}))).await.error(415);
    client.send(post().body("x")).await.error(415);
    let no_boundary = post()
        .header("Content-Type", "multipart/form-data")
        .body("x");
    assert!(
        client
            .send(no_boundary)
            .await
            .error(400)
            .contains("boundary")
    );
    let cut = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\n12";
    let cut = post()
        .header("Content-Type", "multipart/form-data; boundary=b")
        .body(cut);
    client.send(cut).await.error(400);
    let form = post().multipart(Form::new().part("other", Part::bytes(vec![1]).file_name("x")));
    assert!(client.send(form).await.error(400).contains("named file"));
    let form = post().multipart(Form::new().text("file", "no name"));
    assert!(client.send(form).await.error(400).contains("filename"));
    client
        .send(session.upload(&[("x", &pattern(200_001))]))
        .await
        .error(413);
    let halves = [("x", &pattern(100_000)[..]), ("y", &pattern(100_000)[..])];
    client.send(session.upload(&halves)).await.error(413);
    assert_eq!(session.files().await, json!([]));
    wait::until("nothing of it is left", async || {
        let rows = house.sql_value("SELECT count(*) FROM transfers").await;
        (rows == "0" && house.blobs().is_empty()).then_some(())
    })
    .await;
    assert_eq!(
        house
            .sql_value("SELECT count(*) FROM jobs WHERE kind = 'put_files'")
            .await,
        "0"
    );
}

#[tokio::test]
async fn a_file_too_long_for_a_session_is_refused_whole() {
    let mut house = Builder::new().workers(0).build().await;
    house
        .add_worker(WorkerOptions {
            env: vec![("WARREN_SESSION_FILE_BYTES".to_owned(), "100000".to_owned())],
            ..WorkerOptions::default()
        })
        .await;
    let session = house.admin().await.open_session().await;
    let upload = session.upload(&[("short", b"1"), ("long", &pattern(100_001))]);
    let told = session.client.send(upload).await.error(413);
    assert!(told.contains("WARREN_SESSION_FILE_BYTES"), "{told}");
    assert_eq!(session.files().await, json!([]));
}

#[tokio::test]
async fn links_and_pipes_that_r_code_planted_lead_nowhere() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    session
        .prints(
            "invisible(file.create('here', '../tmp/target'))
             invisible(file.symlink('/etc/passwd', 'far'))
             invisible(file.symlink('../tmp/target', 'near'))
             invisible(file.symlink('..', 'up'))
             invisible(file.symlink('nothing', 'dangling'))
             stopifnot(system('mkfifo pipe') == 0)",
        )
        .await;
    let dir = house.working_dir_with("here").await;
    assert_eq!(session.files().await, json!(["here"]));
    for name in ["far", "near", "up", "dangling", "pipe"] {
        session.get_file(name).await.expect(404);
        session
            .client
            .delete(&session.path(&format!("/files/{name}")))
            .await
            .error(404);
        // What comes takes the place of the link.
        session.put_file(name, name.as_bytes()).await;
        assert!(dir.join(name).symlink_metadata().unwrap().is_file());
        assert_eq!(session.get_file(name).await.expect(200), name.as_bytes());
    }
    assert_eq!(session.prints("cat(file.size('../tmp/target'))").await, "0");
    let owner = std::fs::metadata(&dir).unwrap().uid();
    assert_eq!(std::fs::metadata(dir.join("far")).unwrap().uid(), owner);

    // With users of their own for sessions, a file of somebody else is none of the session's, whatever its name.
    std::fs::write(house.dir().join("secret"), "secret").unwrap();
    if owner != rustix::process::geteuid().as_raw() {
        std::fs::hard_link(house.dir().join("secret"), dir.join("hard")).unwrap();
        session.get_file("hard").await.expect(404);
        session
            .client
            .delete(&session.path("/files/hard"))
            .await
            .error(404);
        session.put_file("hard", b"mine").await;
        assert_eq!(
            std::fs::read(house.dir().join("secret")).unwrap(),
            b"secret"
        );
    }

    // The working directory itself as a link.
    session
        .prints(
            "invisible(file.rename('../work', '../moved'))
             invisible(file.symlink('/etc', '../work'))",
        )
        .await;
    let told = session
        .client
        .get(&session.path("/files/passwd"))
        .await
        .error(409);
    assert!(!told.contains("root:"), "{told}");
    let upload = session.upload(&[("planted", b"")]);
    session.client.send(upload).await.error(409);
    assert!(!Path::new("/etc/planted").exists());
}

#[tokio::test]
async fn a_directory_keeps_its_name() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    session.prints("invisible(dir.create('folder'))").await;
    let upload = session.upload(&[("file", b"1"), ("folder", b"2")]);
    assert!(
        session
            .client
            .send(upload)
            .await
            .error(400)
            .contains("folder")
    );
    assert_eq!(session.files().await, json!([]));
}
