//! What a proxy in front does, by calling the server through it: whether it is this server, whether headers and large bodies
//! come through, and whether it takes in more of a download than its reader does.

use std::path::Path;
use std::time::Duration;

use reqwest::{Client, Response};

use super::{Check, Patient};
use crate::control::{self, Request};

/// Larger than the usual limit of proxies (1 MB), smaller than what this server takes in one piece.
const BODY: usize = 2 * 1024 * 1024;
/// The id that the call brings and must get back.
const REQUEST_ID: &str = "daylily-doctor-1";
/// Between two looks at a test download, and how many there are at most.
const LOOK: Duration = Duration::from_millis(100);
const LOOKS: u32 = 25;
/// Looks that show nothing new until it stands still.
const STANDS: u32 = 4;
const BUFFERS: &str = "buffers downloads (a withdrawn file still reaches its reader from the proxy's buffer; uses and receipts are those of the proxy)";
const CURE: &str = "let it pass requests and headers as they are (docs/deployment.md)";

/// Calls through the proxy.
pub(super) async fn check(patient: &Patient<'_>, through: Option<&str>) -> Check {
    let http = &patient.http;
    let Some(through) = through else { return Check::skip("proxy", "`--through URL` was not given") };
    if patient.server.is_none() {
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
    let buffering = buffering(http, &control::find(&patient.settings.data_dir), through).await;
    if faults.is_empty() && buffering.is_none() {
        return Check::ok("proxy", "passes headers, refusals, bodies of 2 MB and downloads as they are");
    }
    let mut cures = Vec::new();
    if !faults.is_empty() {
        cures.push(
            "pass headers as they are, and set client_max_body_size to the policy's max-size (docs/deployment.md)",
        );
    }
    if let Some((fault, cure)) = buffering {
        faults.push(fault);
        cures.push(cure);
    }
    Check::fail("proxy", faults.join(", and "), cures.join("; "))
}

/// A test download that is asked for and not read: only what fits in systems' buffers may leave the server. `None`: so it is.
async fn buffering(http: &Client, server: &Path, through: &str) -> Option<(&'static str, &'static str)> {
    let Ok(control::Response::Probe { path: Some(path), bytes, .. }) =
        control::call(server, &Request::ProbeBegin {}).await
    else {
        return Some(("the server cannot show whether it buffers", "restart the server with this version"));
    };
    let unread = match http.get(format!("{through}{path}")).send().await {
        Ok(answer) if answer.status().is_success() => Some(answer),
        Ok(_) => {
            return Some((
                "does not pass `/probe/`, so that it cannot be told whether it buffers",
                "let it pass all paths",
            ));
        }
        // One that waits for the whole file may be too late for this.
        Err(_) => None,
    };
    let taken = taken(server).await;
    drop(unread);
    let Some(taken) = taken else {
        return Some((
            "shows nothing of how much it takes in, so that it cannot be told whether it buffers",
            "run this on the server's own machine, a Linux one",
        ));
    };
    let cure =
        "keep `X-Accel-Buffering`, or set proxy_buffering off and proxy_request_buffering off (docs/operations.md)";
    (taken > bytes / 2).then_some((BUFFERS, cure))
}

/// How much was taken of the test download by the time that it stands still; `None` where nobody can tell.
async fn taken(server: &Path) -> Option<u64> {
    let (mut taken, mut stands, mut is_told) = (0, 0, false);
    for _ in 0..LOOKS {
        let Ok(control::Response::Probe { acknowledged: Some(now), .. }) =
            control::call(server, &Request::ProbeShow {}).await
        else {
            break;
        };
        is_told = true;
        stands = if now == taken { stands + 1 } else { 0 };
        taken = now;
        if stands >= STANDS {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    is_told.then_some(taken)
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
