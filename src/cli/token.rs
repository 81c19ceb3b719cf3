//! `token`: an access token from the running server, by a real signed assertion.

use std::time::Duration;

use reqwest::Client;
use serde_json::Value;

use super::arguments::Token;
use super::input;
use super::message::Failure;
use super::terminal::Terminal;
use crate::app::{DataFolder, Nature};
use crate::auth::discovery::Endpoints;
use crate::auth::key_file::assertion_for;
use crate::config::BaseUrl;
use crate::domain::id::ClientId;
use crate::domain::refusal::{Code, Issue};

/// `client_assertion_type` (RFC 7523 §2.2).
pub(super) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Everything that the client is registered for: what is not is left out by the server.
pub(super) const ALL_SCOPES: &str = "system/*.cruds";
/// How long the server may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs it.
pub(super) async fn run(token: Token, terminal: &Terminal, nature: &Nature) -> Result<u8, Failure> {
    let client = ClientId::parse(&token.client)
        .ok_or_else(|| Failure::flag("--client", "must be a client's id", "see `daylily client list`"))?;
    let key = input::secret_file("--key", &token.key)?;
    let base = base_url(&token)?;
    let endpoint = Endpoints::at(base.as_str()).token;
    let assertion =
        assertion_for(&client, &key, &endpoint, nature.clock.as_ref(), nature.entropy.as_ref()).map_err(|_| {
            Failure::file("--key", "it is no key file", "give the file that `client add --generate-key` made")
        })?;
    let http = Client::builder().timeout(PATIENCE).no_proxy().build();
    let http = http.map_err(|_| Failure::other(Code::ServerFault, "TLS could not be set up on this machine"))?;
    let scope = token.scope.as_deref().unwrap_or(ALL_SCOPES);
    let answer = request(&http, &endpoint, &assertion, scope).await?;
    if terminal.json {
        terminal.say_json(&answer);
    } else {
        terminal.say(answer.get("access_token").and_then(Value::as_str).unwrap_or_default());
    }
    Ok(0)
}

fn base_url(token: &Token) -> Result<BaseUrl, Failure> {
    if let Some(given) = &token.base_url {
        let wrong = || {
            Failure::flag(
                "--base-url",
                "must be an http or https URL",
                "write it like `--base-url http://localhost:8080`",
            )
        };
        return BaseUrl::parse(given).ok_or_else(wrong);
    }
    let settings = input::settings(&token.place, Vec::new(), false)?;
    if let Some(base) = &settings.server.base_url {
        return Ok(base.clone());
    }
    let known = DataFolder::open(&settings.data_dir)?.base_url();
    Ok(known.as_deref().and_then(BaseUrl::parse).unwrap_or_else(|| settings.base_url(settings.server.listen.port())))
}

/// One token request (RFC 6749 §4.4.2 with RFC 7523 §2.2). The answer's JSON.
pub(super) async fn request(http: &Client, endpoint: &str, assertion: &str, scope: &str) -> Result<Value, Failure> {
    let form = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "client_credentials")
        .append_pair("client_assertion_type", ASSERTION_TYPE)
        .append_pair("client_assertion", assertion)
        .append_pair("scope", scope)
        .finish();
    let sent = http.post(endpoint).header("Content-Type", "application/x-www-form-urlencoded").body(form).send().await;
    let answer = sent.map_err(|_| no_answer(endpoint))?;
    let good = answer.status().is_success();
    let body: Value = answer.json().await.map_err(|_| no_answer(endpoint))?;
    if good { Ok(body) } else { Err(refused(&body)) }
}

fn no_answer(endpoint: &str) -> Failure {
    let issue = Issue::new(Code::ServerUnreachable).message_text(format!("{endpoint} did not answer"));
    issue.cure_text("start it with `daylily serve`, or give `--base-url`").into()
}

/// What the server said, which is of its own words; its code from the page that it names.
fn refused(body: &Value) -> Failure {
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    let code = text("error_uri").rsplit('/').next().and_then(Code::from_name).unwrap_or(Code::ClientUnauthenticated);
    let said: String = text("error_description").chars().take(400).collect();
    // Message, a blank, cure (docs/errors.md): a terminal shows them as two lines.
    let (what, cure) = said.split_once(". ").unwrap_or((&said, "Compare the clocks"));
    let cure = format!("{}; `daylily client show` has the registration", cure.trim_end_matches('.'));
    Failure::from(Issue::new(code).message_text(what).cure_text(cure)).with_exit(1)
}
