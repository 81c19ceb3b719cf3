//! A client's program: its key, its token by a signed assertion, plain HTTP.

use std::sync::Arc;
use std::time::Duration;

use daylily::auth::discovery::Endpoints;
use daylily::auth::key_file::KeyFile;
use daylily::domain::clock::Clock;
use daylily::domain::id::ClientId;
use daylily::vault::SystemEntropy;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use tokio::sync::Mutex;

use super::{TestClock, TestDaylily};

/// A token is renewed well before its five minutes are over.
const RENEW: Duration = Duration::from_secs(240);
pub const FHIR: &str = "application/fhir+json";

pub struct Actor {
    pub id: ClientId,
    pub key: KeyFile,
    pub scope: String,
    base: String,
    http: reqwest::Client,
    clock: Arc<TestClock>,
    token: Mutex<Option<(String, Duration)>>,
}

/// What came back, whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub bytes: Vec<u8>,
}

impl Answer {
    pub async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, bytes: response.bytes().await.expect("a whole answer").to_vec() }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The code of a refusal.
    pub fn code(&self) -> &str {
        self.header("daylily-error")
    }

    pub fn said(&self) -> (u16, &str) {
        (self.status, self.code())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("no JSON: {} {}", self.status, self.text()))
    }

    /// The JSON of an answer that must have this status.
    #[track_caller]
    pub fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.bytes));
        self.json()
    }
}

impl Actor {
    pub(super) fn new(id: &str, key: KeyFile, scope: &str, daylily: &TestDaylily) -> Self {
        Self {
            id: ClientId::parse(id).unwrap(),
            key,
            scope: scope.to_owned(),
            base: daylily.base(),
            http: daylily.http.clone(),
            clock: Arc::clone(&daylily.clock),
            token: Mutex::new(None),
        }
    }

    pub fn assertion(&self) -> String {
        let endpoint = Endpoints::at(&self.base).token;
        self.key.assertion(&self.id, &endpoint, self.clock.as_ref(), &SystemEntropy).unwrap()
    }

    /// One token request with an assertion.
    pub async fn ask_token(&self, assertion: &str, scope: &str) -> Answer {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
            .append_pair("client_assertion", assertion)
            .append_pair("scope", scope)
            .finish();
        let request = self.http.post(format!("{}/auth/token", self.base));
        Answer::of(request.header("Content-Type", "application/x-www-form-urlencoded").body(form)).await
    }

    /// A token that is good now.
    pub async fn token(&self) -> String {
        let mut known = self.token.lock().await;
        let now = Duration::from_micros(self.clock.now_micros());
        if let Some((token, _)) = known.as_ref().filter(|(_, since)| (*since..*since + RENEW).contains(&now)) {
            return token.clone();
        }
        let granted = self.ask_token(&self.assertion(), &self.scope).await.ok(200);
        let token = granted["access_token"].as_str().unwrap().to_owned();
        *known = Some((token.clone(), now));
        token
    }

    /// A request below `/fhir` (or to a whole URL) with a token.
    pub async fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}/fhir/{path}", self.base) };
        self.http.request(method, url).bearer_auth(self.token().await)
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path).await).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.request(Method::POST, path).await.header("Content-Type", FHIR).body(body.to_string())).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.request(Method::PUT, path).await.header("Content-Type", FHIR).body(body.to_string())).await
    }

    pub async fn upload(&self, media_type: &str, bytes: &[u8]) -> Answer {
        let request = self.request(Method::POST, "Binary").await.header("Content-Type", media_type);
        Answer::of(request.body(bytes.to_vec())).await
    }
}
