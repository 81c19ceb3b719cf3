//! What a proxy in front does, by calling the server through it: whether it is this server, and whether headers and large bodies
//! come through.

use reqwest::{Client, Response};

use super::Check;
use crate::control::StatusView;

/// Larger than the usual limit of proxies (1 MB), smaller than what this server takes in one piece.
const BODY: usize = 2 * 1024 * 1024;
/// The id that the call brings and must get back.
const REQUEST_ID: &str = "daylily-doctor-1";
const CURE: &str = "let it pass requests and headers as they are (docs/deployment.md)";

/// Calls through the proxy.
pub(super) async fn check(http: &Client, server: Option<&StatusView>, through: Option<&str>) -> Check {
    let Some(through) = through else { return Check::skip("proxy", "`--through URL` was not given") };
    if server.is_none() {
        return Check::skip("proxy", "no server runs on this data folder");
    }
    let through = through.trim_end_matches('/');
    let asked = http.get(format!("{through}/fhir/metadata")).header("X-Request-Id", REQUEST_ID).send().await;
    let answer = match asked {
        Ok(answer) if answer.status().is_success() => answer,
        Ok(answer) => {
            return Check::fail("proxy", format!("answers {} to /fhir/metadata", answer.status().as_u16()), CURE);
        }
        Err(_) => {
            return Check::fail("proxy", "does not answer from this machine", "look at its name, port and certificate");
        }
    };
    let mut faults = Vec::new();
    if header(&answer, "X-Request-Id") != REQUEST_ID {
        faults.push("changes or drops `X-Request-Id`");
    }
    faults.extend(large_body(http, through).await);
    if faults.is_empty() {
        return Check::ok("proxy", "passes headers, refusals and bodies of 2 MB as they are");
    }
    Check::fail(
        "proxy",
        faults.join(", and "),
        "pass headers as they are, and set client_max_body_size to the policy's max-size (docs/deployment.md)",
    )
}

/// A large body without a token is refused by this server, with its own header; a proxy that stops it answers by itself.
async fn large_body(http: &Client, through: &str) -> Option<&'static str> {
    let sent =
        http.post(format!("{through}/fhir/Binary")).header("Content-Type", "application/pdf").body(vec![0; BODY]);
    match sent.send().await {
        Ok(answer) if header(&answer, "Daylily-Error") == "token-missing" => None,
        Ok(answer) if answer.status().as_u16() == 413 => Some("stops bodies over 1 MB"),
        Ok(_) => Some("answers in this server's place, or drops `Daylily-Error`"),
        // The server may refuse, and close, before the whole body was sent.
        Err(_) => None,
    }
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
