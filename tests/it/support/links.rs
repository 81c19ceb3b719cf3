//! Documents with links, and requests to those.

use reqwest::Method;
use serde_json::Value;

use super::*;

/// The path of a link.
pub fn path(link: &str) -> &str {
    &link[link.find("/d/").unwrap()..]
}

/// What a request without a token is answered.
pub async fn asked(daylily: &TestDaylily, method: Method, url: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = daylily.http.request(method, url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::of(request).await
}

/// A server with a released document of so many bytes.
pub async fn released(policy: &str, length: usize) -> (TestDaylily, Actor, String, Vec<u8>) {
    let daylily = TestDaylily::start_with(policy, |_| {}).await;
    let source = daylily.source().await;
    let bytes = pdf(1, length);
    let id = daylily.ready(&source, &document("p1", &[inline("application/pdf", &bytes)])).await;
    (daylily, source, id, bytes)
}

/// What `$issue-link` answers.
pub async fn issue(actor: &Actor, id: &str, parts: &[(&str, &str, Value)]) -> Answer {
    actor.post(&format!("DocumentReference/{id}/$issue-link"), &parameters(parts)).await
}

/// A link that was issued.
pub async fn issued(actor: &Actor, id: &str, parts: &[(&str, &str, Value)]) -> String {
    let answer = issue(actor, id, parts).await.ok(200);
    text(parameter(&answer, "url"), "/valueUrl")
}
