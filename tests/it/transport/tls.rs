//! TLS with certificates that change.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use reqwest::Method;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use warren_tests::house::PASSWORD;
use warren_tests::{Builder, Client, House, wait};

use super::{exchange, until_closed};

/// A certificate of this machine, and its key.
struct Pair {
    certificate: String,
    key: String,
}

impl Pair {
    fn new() -> Self {
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        Self {
            certificate: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
        }
    }
}

/// A house of one API node that shows certificates from a folder.
struct Secured {
    house: House,
    files: PathBuf,
}

impl Secured {
    async fn with(pair: &Pair) -> Self {
        let mut house = Builder::new().apis(0).workers(0).build().await;
        let files = house.dir().join("tls");
        std::fs::create_dir(&files).unwrap();
        put(&files, pair);
        let [certificate, key] = paths(&files);
        let settings = [
            ("WARREN_TLS_CERT", certificate.as_str()),
            ("WARREN_TLS_KEY", key.as_str()),
            ("WARREN_ADMIN_PASSWORD", PASSWORD),
        ];
        house.add_api_over_tls(&pair.certificate, &settings).await;
        Self { house, files }
    }

    fn node(&self) -> SocketAddr {
        self.house.apis[0].addr
    }

    /// Waits until the node has said something.
    async fn says(&self, what: &str) {
        let process = &self.house.apis[0].process;
        wait::until(what, async || {
            process.log_text().contains(what).then_some(())
        })
        .await;
    }

    async fn answers(&self, certificate: &str) -> bool {
        let client = Client::over_tls(self.node(), certificate);
        let answer = client.try_send(client.request(Method::GET, "/health/live"));
        answer.await.is_ok()
    }
}

fn paths(files: &Path) -> [String; 2] {
    ["tls.crt", "tls.key"].map(|name| files.join(name).to_string_lossy().into_owned())
}

fn put(files: &Path, pair: &Pair) {
    let [certificate, key] = paths(files);
    std::fs::write(certificate, &pair.certificate).unwrap();
    std::fs::write(key, &pair.key).unwrap();
}

#[tokio::test]
async fn another_certificate_is_shown_and_connections_with_the_one_before_go_on() {
    let (old, new) = (Pair::new(), Pair::new());
    let secured = Secured::with(&old).await;
    let client = Client::over_tls(secured.node(), &old.certificate)
        .login("admin", PASSWORD)
        .await;
    client.get("/sessions").await.expect(200);
    assert!(!secured.answers(&new.certificate).await);
    put(&secured.files, &new);
    secured.says("Another TLS certificate is in use").await;
    assert!(secured.answers(&new.certificate).await);
    assert!(!secured.answers(&old.certificate).await);
    // It trusts the old one only, so this is the connection from before.
    client.get("/sessions").await.expect(200);
    let log = secured.house.apis[0].process.log_text();
    assert!(!log.contains("PRIVATE KEY"), "{log}");
}

#[tokio::test]
async fn a_pair_that_does_not_fit_leaves_the_one_before_in_use() {
    let (good, other) = (Pair::new(), Pair::new());
    let secured = Secured::with(&good).await;
    let [certificate, key] = paths(&secured.files);
    std::fs::write(&key, &other.key).unwrap();
    secured.says("cannot be used together").await;
    assert!(secured.answers(&good.certificate).await);
    std::fs::remove_file(&certificate).unwrap();
    secured
        .says("tls.crt of WARREN_TLS_CERT cannot be read")
        .await;
    assert!(secured.answers(&good.certificate).await);
    // And the next good one is taken.
    put(&secured.files, &other);
    secured.says("Another TLS certificate is in use").await;
    assert!(secured.answers(&other.certificate).await);
    let log = secured.house.apis[0].process.log_text();
    assert_eq!(
        log.matches("certificate cannot be used").count(),
        2,
        "{log}"
    );
}

#[tokio::test]
async fn a_certificate_behind_a_link_that_is_replaced_is_taken() {
    let (old, new) = (Pair::new(), Pair::new());
    let mut house = Builder::new().apis(0).workers(0).build().await;
    let dir = house.dir().to_owned();
    for (name, pair) in [("one", &old), ("two", &new)] {
        std::fs::create_dir(dir.join(name)).unwrap();
        put(&dir.join(name), pair);
    }
    let link = dir.join("current");
    std::os::unix::fs::symlink("one", &link).unwrap();
    let [certificate, key] = paths(&link);
    let settings = [
        ("WARREN_TLS_CERT", certificate.as_str()),
        ("WARREN_TLS_KEY", key.as_str()),
    ];
    house.add_api_over_tls(&old.certificate, &settings).await;
    std::os::unix::fs::symlink("two", dir.join("next")).unwrap();
    std::fs::rename(dir.join("next"), &link).unwrap();
    Client::over_tls(house.apis[0].addr, &new.certificate)
        .ready()
        .await;
}

#[tokio::test]
async fn whoever_does_not_finish_a_handshake_holds_up_nobody() {
    let pair = Pair::new();
    let secured = Secured::with(&pair).await;
    let mut silent = Vec::new();
    for _connection in 0..50 {
        let mut stream = TcpStream::connect(secured.node()).await.unwrap();
        // The first bytes of a greeting.
        stream.write_all(&[22, 3, 1]).await.unwrap();
        silent.push(stream);
    }
    assert!(secured.answers(&pair.certificate).await);
    let heard = exchange(secured.node(), b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(!heard.contains("HTTP"), "{heard}");
    assert!(secured.answers(&pair.certificate).await);
    // They are closed when their time is over.
    for stream in &mut silent {
        let closed = tokio::time::timeout(wait::LIMIT, until_closed(stream)).await;
        closed.expect("the node closes the connection");
    }
}

#[tokio::test]
async fn the_probe_asks_over_tls() {
    let secured = Secured::with(&Pair::new()).await;
    let [certificate, key] = paths(&secured.files);
    let node = secured.node().to_string();
    let probe = [
        "probe",
        "--listen",
        &node,
        "--tls-cert",
        &certificate,
        "--tls-key",
        &key,
    ];
    secured.house.administer(&probe, "").await;
    // Also while the files hold what cannot be used.
    std::fs::write(&certificate, "").unwrap();
    secured.house.administer(&probe, "").await;
    let plain = secured.house.try_administer(&probe[..3], "").await;
    assert!(!plain.status.success());
}

#[tokio::test]
async fn a_start_without_a_good_pair_names_setting_and_file() {
    let house = Builder::new().apis(0).workers(0).build().await;
    let (one, other) = (Pair::new(), Pair::new());
    let [certificate, key] = paths(house.dir());
    let start = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--tls-cert",
        &certificate,
        "--tls-key",
        &key,
    ];
    for (certificate_text, key_text, expected) in [
        (None, None, "tls.crt of WARREN_TLS_CERT cannot be read"),
        (Some(""), None, "tls.key of WARREN_TLS_KEY cannot be read"),
        (
            Some("x"),
            Some(""),
            "tls.crt of WARREN_TLS_CERT holds no certificate",
        ),
        (
            Some(one.certificate.as_str()),
            Some("x"),
            "tls.key of WARREN_TLS_KEY holds no private key",
        ),
        (
            Some(&one.certificate),
            Some(&other.key),
            "cannot be used together",
        ),
    ] {
        for (path, text) in [(&certificate, certificate_text), (&key, key_text)] {
            if let Some(text) = text {
                std::fs::write(path, text).unwrap();
            }
        }
        let output = house.try_administer(&start, "").await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        assert!(said.contains(expected), "{said}");
    }
    let output = house.try_administer(&start[..5], "").await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("WARREN_TLS_KEY must name a file"), "{said}");
}
