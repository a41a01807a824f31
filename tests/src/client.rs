//! A caller: one user's view of the API, over real HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::multipart::{Form, Part};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::wait;

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: reqwest::header::HeaderMap,
    /// Body; null when there was none or it was no JSON.
    pub body: Value,
}

impl Answer {
    /// The body, if the status is the expected one.
    ///
    /// # Panics
    ///
    /// When it is another.
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self.body
    }

    /// The message of an Error body with this status.
    ///
    /// # Panics
    ///
    /// When the status is another, or the body lacks a member of Error.
    pub fn error(self, status: u16) -> String {
        let body = self.expect(status);
        assert_eq!(body["code"], status, "{body}");
        for member in ["message", "fields", "link", "exceptionType"] {
            assert!(body[member].is_string(), "{member} is missing in {body}");
        }
        body["message"].as_str().unwrap_or_default().to_owned()
    }

    /// A header's text; empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        header(&self.headers, name)
    }
}

/// What came back, when it was bytes.
#[derive(Debug)]
pub struct Fetched {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: reqwest::header::HeaderMap,
    /// Body.
    pub bytes: Vec<u8>,
}

impl Fetched {
    /// The body, if the status is the expected one.
    ///
    /// # Panics
    ///
    /// When it is another.
    pub fn expect(self, status: u16) -> Vec<u8> {
        let start = String::from_utf8_lossy(&self.bytes[..self.bytes.len().min(500)]);
        assert_eq!(self.status.as_u16(), status, "{start}");
        self.bytes
    }

    /// A header's text; empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        header(&self.headers, name)
    }
}

fn header<'a>(headers: &'a reqwest::header::HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// One user at one node.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Client {
    /// A caller without a token.
    ///
    /// # Panics
    ///
    /// When no HTTP client can be built.
    pub fn anonymous(node: SocketAddr) -> Self {
        let http = reqwest::Client::builder()
            .timeout(wait::LIMIT * 2)
            .build()
            .expect("a client can be built");
        Self {
            http,
            base: format!("http://{node}"),
            token: None,
        }
    }

    /// A caller without a token, over TLS, who trusts this certificate (PEM) and nothing else.
    ///
    /// # Panics
    ///
    /// When no HTTP client can be built.
    pub fn over_tls(node: SocketAddr, certificate: &str) -> Self {
        let root = reqwest::Certificate::from_pem(certificate.as_bytes()).expect("a certificate");
        let http = reqwest::Client::builder()
            .timeout(wait::LIMIT * 2)
            .tls_certs_only([root])
            .build()
            .expect("a client can be built");
        Self {
            http,
            base: format!("https://{node}"),
            token: None,
        }
    }

    /// The same caller with another token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    /// The same caller at another node.
    #[must_use]
    pub fn at(&self, node: SocketAddr) -> Self {
        Self {
            base: format!("http://{node}"),
            ..self.clone()
        }
    }

    /// The token this caller sends.
    pub fn token(&self) -> &str {
        self.token.as_deref().unwrap_or_default()
    }

    /// Signs in.
    ///
    /// # Panics
    ///
    /// When that is refused.
    pub async fn login(&self, user: &str, password: &str) -> Self {
        let body = json!({"username": user, "password": password});
        let tokens = self.post("/login", &body).await.expect(200);
        self.with_token(tokens["access_token"].as_str().expect("a token"))
    }

    /// A request to be filled in further.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends a request.
    ///
    /// # Panics
    ///
    /// When no answer comes.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        self.try_send(request).await.expect("the API answers")
    }

    /// Sends a request; an error when no answer comes.
    pub async fn try_send(&self, request: RequestBuilder) -> reqwest::Result<Answer> {
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = serde_json::from_slice(&response.bytes().await?).unwrap_or(Value::Null);
        Ok(Answer {
            status,
            headers,
            body,
        })
    }

    /// Sends a request that is answered with bytes.
    ///
    /// # Panics
    ///
    /// When no whole answer comes.
    pub async fn fetch(&self, request: RequestBuilder) -> Fetched {
        let response = request.send().await.expect("the API answers");
        Fetched {
            status: response.status(),
            headers: response.headers().clone(),
            bytes: response
                .bytes()
                .await
                .expect("all of the body comes")
                .into(),
        }
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// POST with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// Opens a session.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub async fn open_session(&self) -> Session {
        let body = self.post("/sessions", &json!({})).await.expect(201);
        Session {
            client: self.clone(),
            id: body["sessionId"].as_str().expect("a session id").to_owned(),
        }
    }

    /// Opens a session that begins with a snapshot.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub async fn open_with(&self, snapshot: &str) -> Session {
        let body = json!({ "snapshotId": snapshot });
        let body = self.post("/sessions", &body).await.expect(201);
        Session {
            client: self.clone(),
            id: body["sessionId"].as_str().expect("a session id").to_owned(),
        }
    }

    /// Asks for a session without waiting for it; the session, and the job that opens it.
    ///
    /// # Panics
    ///
    /// When it is not accepted.
    pub async fn ask_for_session(&self) -> (Session, String) {
        let request = self.request(Method::POST, "/sessions");
        let request = request.header("Prefer", "respond-async").json(&json!({}));
        let accepted = self.send(request).await.expect(202);
        let text = |name: &str| accepted[name].as_str().expect("an id").to_owned();
        let session = Session {
            client: self.clone(),
            id: text("sessionId"),
        };
        (session, text("jobId"))
    }

    /// Waits until a job is final.
    ///
    /// # Panics
    ///
    /// When it is not after [`wait::LIMIT`].
    pub async fn job_end(&self, job: &str) -> Value {
        let deadline = tokio::time::Instant::now() + wait::LIMIT;
        while tokio::time::Instant::now() < deadline {
            // The API holds the answer until the job is final, so this does not spin.
            let job = self.get(&format!("/jobs/{job}?wait=10")).await.expect(200);
            if !job["finishedAt"].is_null() {
                return job;
            }
        }
        panic!("job {job} is not final after {:?}", wait::LIMIT);
    }

    /// Waits until a job is in a state.
    pub async fn job_is(&self, job: &str, state: &str) {
        wait::until(&format!("job {job} is {state}"), async || {
            let job = self.get(&format!("/jobs/{job}")).await.expect(200);
            (job["state"] == state).then_some(())
        })
        .await;
    }

    /// Waits until the node is ready.
    pub async fn ready(&self) {
        wait::until("the API is ready", async || {
            let answer = self
                .try_send(self.request(Method::GET, "/health/ready"))
                .await;
            answer
                .is_ok_and(|answer| answer.status == StatusCode::OK)
                .then_some(())
        })
        .await;
    }
}

/// A session of one caller.
#[derive(Clone)]
pub struct Session {
    /// Whose.
    pub client: Client,
    /// Its id.
    pub id: String,
}

impl Session {
    /// A path below the session.
    pub fn path(&self, rest: &str) -> String {
        format!("/sessions/{}{rest}", self.id)
    }

    /// Executes and waits.
    pub async fn execute(&self, code: &str) -> Answer {
        self.client
            .post(&self.path("/execute"), &json!({"code": code}))
            .await
    }

    /// Executes code that must succeed, and returns what it printed.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub async fn prints(&self, code: &str) -> String {
        let body = self.execute(code).await.expect(200);
        assert_eq!(body["success"], true, "{body}");
        body["consoleOutput"]
            .as_str()
            .expect("console text")
            .to_owned()
    }

    /// Executes without waiting, and returns the job's id.
    ///
    /// # Panics
    ///
    /// When it is not accepted.
    pub async fn submit(&self, code: &str) -> String {
        self.submit_request(&json!({"code": code})).await
    }

    /// The same with a whole request.
    ///
    /// # Panics
    ///
    /// When it is not accepted.
    pub async fn submit_request(&self, body: &Value) -> String {
        let request = self.client.request(Method::POST, &self.path("/execute"));
        let request = request.header("Prefer", "respond-async").json(body);
        let answer = self.client.send(request).await;
        let location = answer.header("Location").to_owned();
        let body = answer.expect(202);
        let job = body["jobId"].as_str().expect("a job id").to_owned();
        assert_eq!(location, format!("/jobs/{job}"));
        job
    }

    /// A request that puts files into the working directory.
    pub fn upload(&self, files: &[(&str, &[u8])]) -> RequestBuilder {
        let mut form = Form::new();
        for (name, bytes) in files {
            let part = Part::bytes(bytes.to_vec()).file_name((*name).to_owned());
            form = form.part("file", part);
        }
        let request = self.client.request(Method::POST, &self.path("/files"));
        request.multipart(form)
    }

    /// Puts a file into the working directory.
    ///
    /// # Panics
    ///
    /// When that is refused.
    pub async fn put_file(&self, name: &str, bytes: &[u8]) {
        let upload = self.upload(&[(name, bytes)]);
        self.client.send(upload).await.expect(201);
    }

    /// A request for a file of the working directory; the name stands in the path as it is.
    pub fn download(&self, name: &str) -> RequestBuilder {
        let path = self.path(&format!("/files/{name}"));
        self.client.request(Method::GET, &path)
    }

    /// A file of the working directory.
    pub async fn get_file(&self, name: &str) -> Fetched {
        self.client.fetch(self.download(name)).await
    }

    /// A request for an object of the workspace; name and query stand in the path as they are.
    pub fn object(&self, method: Method, name: &str) -> RequestBuilder {
        let path = self.path(&format!("/workspace/{name}"));
        self.client.request(method, &path)
    }

    /// An object of the workspace.
    pub async fn get_object(&self, name: &str) -> Fetched {
        self.client.fetch(self.object(Method::GET, name)).await
    }

    /// Puts an object into the workspace.
    pub async fn put_object(&self, name: &str, bytes: &[u8]) -> Answer {
        let request = self.object(Method::POST, name).body(bytes.to_vec());
        self.client.send(request).await
    }

    /// The names of the objects.
    ///
    /// # Panics
    ///
    /// When they are refused.
    pub async fn objects(&self) -> Value {
        self.client.get(&self.path("/workspace")).await.expect(200)
    }

    /// Saves the session, and returns the snapshot's id.
    ///
    /// # Panics
    ///
    /// When that is refused.
    pub async fn save(&self) -> String {
        let saved = self.client.post(&self.path("/snapshot"), &json!({})).await;
        let body = saved.expect(201);
        body["snapshotId"].as_str().expect("an id").to_owned()
    }

    /// Loads a snapshot.
    pub async fn load(&self, snapshot: &str) -> Answer {
        let path = self.path(&format!("/loadsnapshot/{snapshot}"));
        self.client
            .send(self.client.request(Method::POST, &path))
            .await
    }

    /// The names of the files.
    ///
    /// # Panics
    ///
    /// When they are refused.
    pub async fn files(&self) -> Value {
        self.client.get(&self.path("/files")).await.expect(200)
    }

    /// Closes it.
    ///
    /// # Panics
    ///
    /// When that is refused.
    pub async fn close(&self) {
        self.client.delete(&self.path("")).await.expect(200);
    }

    /// Waits until it is gone, and returns the reason.
    pub async fn gone(&self) -> String {
        wait::until("the session is gone", async || {
            let answer = self.client.get(&self.path("/history")).await;
            (answer.status == StatusCode::GONE).then(|| answer.error(410))
        })
        .await
    }
}

/// R code that makes a file `here`, and runs until a file `go` comes.
pub const UNTIL_GO: &str =
    "invisible(file.create('here')); while (!file.exists('go')) Sys.sleep(0.01)";

/// A generous limit for one answer.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(30);
