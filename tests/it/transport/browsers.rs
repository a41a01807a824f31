//! What browsers are told.

use reqwest::Method;
use warren_tests::{Answer, Client};

use super::house;

const APP: &str = "https://app.example.com";

async fn from_origin(client: &Client, path: &str, origin: &str) -> Answer {
    let request = client.request(Method::GET, path).header("Origin", origin);
    client.send(request).await
}

async fn preflight(client: &Client, path: &str, origin: &str) -> Answer {
    let request = client
        .request(Method::OPTIONS, path)
        .header("Origin", origin)
        .header("Access-Control-Request-Method", "POST")
        .header(
            "Access-Control-Request-Headers",
            "authorization,content-type,prefer,idempotency-key",
        );
    client.send(request).await
}

#[tokio::test]
async fn pages_of_other_origins_read_nothing_unless_theirs_is_listed() {
    let mut house = house(&[]).await;
    let database = house.database.server;
    let two = format!("{APP}, http://localhost:3000");
    house
        .add_api_via(database, &[("WARREN_CORS_ORIGINS", &two)])
        .await;
    house
        .add_api_via(database, &[("WARREN_CORS_ORIGINS", "*")])
        .await;
    let [off, listed, any] = [0, 1, 2].map(|node| Client::anonymous(house.apis[node].addr));

    let answer = from_origin(&off, "/health/live", APP).await;
    assert_eq!(answer.header("Access-Control-Allow-Origin"), "");
    preflight(&off, "/sessions", APP).await.error(405);

    // Answers of every kind, errors as well.
    for path in ["/health/live", "/sessions", "/nothing"] {
        let answer = from_origin(&listed, path, APP).await;
        assert_eq!(answer.header("Access-Control-Allow-Origin"), APP, "{path}");
        assert!(
            answer.header("Vary").to_lowercase().contains("origin"),
            "{path}"
        );
        assert_eq!(answer.header("Access-Control-Allow-Credentials"), "");
        let exposed = answer
            .header("Access-Control-Expose-Headers")
            .to_lowercase();
        for header in [
            "location",
            "retry-after",
            "x-request-id",
            "content-disposition",
            "etag",
            "content-range",
        ] {
            assert!(exposed.contains(header), "{exposed}");
        }
    }
    let answer = from_origin(&listed, "/sessions", "https://evil.example.com").await;
    assert_eq!(answer.header("Access-Control-Allow-Origin"), "");
    assert!(answer.header("Vary").to_lowercase().contains("origin"));
    answer.error(401);

    let asked = preflight(&listed, "/sessions", APP).await;
    assert_eq!(asked.status, 200);
    assert_eq!(asked.header("Access-Control-Allow-Origin"), APP);
    let methods = asked.header("Access-Control-Allow-Methods");
    assert!(
        methods.contains("POST") && methods.contains("DELETE"),
        "{methods}"
    );
    let allowed = asked.header("Access-Control-Allow-Headers").to_lowercase();
    for header in [
        "authorization",
        "content-type",
        "prefer",
        "idempotency-key",
        "range",
        "last-event-id",
        "traceparent",
    ] {
        assert!(
            allowed.split(',').any(|one| one.trim() == header),
            "{allowed}"
        );
    }
    let refused = preflight(&listed, "/sessions", "https://evil.example.com").await;
    assert_eq!(refused.header("Access-Control-Allow-Origin"), "");

    let answer = from_origin(&any, "/health/live", "https://evil.example.com").await;
    assert_eq!(answer.header("Access-Control-Allow-Origin"), "*");
}

#[tokio::test]
async fn every_answer_has_the_headers_that_protect() {
    let house = house(&[("WARREN_TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    let client = house.admin().await;
    for path in ["/sessions", "/health/live", "/nothing", "/jobs/x"] {
        let answer = client.get(path).await;
        for (name, value) in [
            ("X-Content-Type-Options", "nosniff"),
            (
                "Content-Security-Policy",
                "default-src 'none'; frame-ancestors 'none'",
            ),
            ("X-Frame-Options", "DENY"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Cache-Control", "no-store"),
            ("Strict-Transport-Security", ""),
            ("Server", ""),
        ] {
            assert_eq!(answer.header(name), value, "{path}: {name}");
        }
        let request = client.request(Method::GET, path);
        let over_tls = client
            .send(request.header("X-Forwarded-Proto", "https"))
            .await;
        assert_eq!(
            over_tls.header("Strict-Transport-Security"),
            "max-age=31536000"
        );
    }
}
