//! A program that uses the server, as a real one would: its own key, its own token, plain HTTP.

use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use reqwest::{Client, Method, Response};
use serde_json::Value;

use crate::app::Nature;
use crate::auth::discovery::Endpoints;
use crate::auth::key_file::assertion_for;
use crate::cli::{input, message::Failure, token};
use crate::domain::id::ClientId;

/// A registered program.
#[derive(Debug)]
pub(super) struct Actor {
    pub(super) id: ClientId,
    pub(super) key: PathBuf,
    base: String,
    http: Client,
    bearer: String,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) code: String,
    pub(super) bytes: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or(Value::Null)
    }

    /// `200`, or `410 link-revoked`.
    pub(super) fn words(&self) -> String {
        if self.code.is_empty() { self.status.to_string() } else { format!("{} {}", self.status, self.code) }
    }

    pub(super) fn sha256(&self) -> String {
        sha256(&self.bytes)
    }
}

/// SHA-256 in hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

impl Actor {
    pub(super) fn new(id: ClientId, folder: &Path, base: &str, http: Client) -> Self {
        let key = folder.join(format!("{id}.key"));
        Self { id, key, base: base.to_owned(), http, bearer: String::new() }
    }

    /// Gets a token by a signed assertion.
    pub(super) async fn sign_in(&mut self, nature: &Nature) -> Result<(), Failure> {
        let key = input::secret_file("--key", &self.key)?;
        let endpoint = Endpoints::at(&self.base).token;
        let signed = assertion_for(&self.id, &key, &endpoint, nature.clock.as_ref(), nature.entropy.as_ref());
        let assertion = signed.map_err(|_| Failure::file("--key", "it is no key file", "run the demo again"))?;
        let answer = token::request(&self.http, &endpoint, &assertion, token::ALL_SCOPES).await?;
        self.bearer = answer.get("access_token").and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(())
    }

    pub(super) async fn get(&self, path: &str) -> Result<Answer, String> {
        self.send(Method::GET, path, None).await
    }

    pub(super) async fn post(&self, path: &str, media_type: &str, body: Vec<u8>) -> Result<Answer, String> {
        self.send(Method::POST, path, Some((media_type, body))).await
    }

    pub(super) async fn put(&self, path: &str, media_type: &str, body: Vec<u8>) -> Result<Answer, String> {
        self.send(Method::PUT, path, Some((media_type, body))).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<(&str, Vec<u8>)>) -> Result<Answer, String> {
        let url = format!("{}/fhir/{path}", self.base);
        let mut request = self.http.request(method, url).bearer_auth(&self.bearer);
        if let Some((media_type, body)) = body {
            request = request.header("Content-Type", media_type).body(body);
        }
        read(request.send().await).await
    }
}

/// Follows a link, without any token.
pub(super) async fn follow(http: &Client, url: &str) -> Result<Answer, String> {
    read(http.get(url).send().await).await
}

async fn read(sent: Result<Response, reqwest::Error>) -> Result<Answer, String> {
    let response = sent.map_err(|_| "no answer".to_owned())?;
    let status = response.status().as_u16();
    let code = response.headers().get("Daylily-Error").and_then(|value| value.to_str().ok());
    let code = code.unwrap_or_default().to_owned();
    let bytes = response.bytes().await.map_err(|_| "an answer that broke off".to_owned())?.to_vec();
    Ok(Answer { status, code, bytes })
}
