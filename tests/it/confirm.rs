//! Links that a person confirms, over HTTP: pages, cookie, button; and that nothing but the button uses anything up.

use reqwest::Method;
use serde_json::json;

use crate::support::*;

const BROWSER: (&str, &str) = ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");

async fn asked(daylily: &TestDaylily, method: Method, url: &str, headers: &[(&str, &str)]) -> Answer {
    let request = daylily.http.request(method, url);
    Answer::of(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
}

/// A server, its client, a released document, and a confirm link of one use.
async fn to_confirm() -> (TestDaylily, Actor, String, Vec<u8>) {
    let daylily =
        TestDaylily::start_with("", |settings| settings.pages.organisation = Some("St. Elsewhere".to_owned())).await;
    let source = daylily.source().await;
    let bytes = pdf(1, 70_000);
    let (id, _) = daylily.ready_link(&source, &bytes).await;
    let wanted = parameters(&[("confirm", "valueBoolean", json!(true)), ("uses", "valuePositiveInt", json!(1))]);
    let issued = source.post(&format!("DocumentReference/{id}/$issue-link"), &wanted).await.ok(200);
    let link = text(parameter(&issued, "url"), "/valueUrl");
    (daylily, source, link, bytes)
}

/// The cookie's `name=value`.
fn cookie_of(answer: &Answer) -> String {
    answer.header("set-cookie").split(';').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_gets_the_page_and_the_button_leads_to_the_bytes_once() {
    let (daylily, _, link, bytes) = to_confirm().await;
    let page = asked(&daylily, Method::GET, &link, &[BROWSER]).await;
    assert_eq!(page.status, 200);
    for part in ["<h1>A document is ready to download</h1>", "<dd>St. Elsewhere</dd>", "<dd>PDF</dd>", "<dd>once</dd>"]
    {
        assert!(page.text().contains(part), "{part}: {}", page.text());
    }
    let cookie = page.header("set-cookie").to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/d", "Max-Age=600"] {
        assert!(cookie.contains(part), "{part}: {cookie}");
    }
    assert!(page.header("content-security-policy").contains("form-action 'self'"));
    assert_eq!(page.header("cache-control"), "no-store");
    let cookie = cookie_of(&page);
    let pressed = asked(&daylily, Method::POST, &link, &[BROWSER, ("Cookie", &cookie)]).await;
    assert_eq!(pressed.status, 303, "{}", pressed.text());
    assert_eq!(pressed.header("content-length"), "0", "else a browser waits for the end of the connection");
    let to = format!("{}{}", daylily.base(), pressed.header("location"));
    assert_eq!(asked(&daylily, Method::GET, &to, &[]).await.said(), (403, "link-confirm-required"));
    let other = [("Cookie", "daylily-confirm=AAAAAAAAAAAAAAAAAAAAAA")];
    assert_eq!(asked(&daylily, Method::GET, &to, &other).await.said(), (403, "link-confirm-required"));
    let answer = asked(&daylily, Method::GET, &to, &[("Cookie", &cookie)]).await;
    assert_eq!((answer.status, answer.bytes), (200, bytes));
    assert!(answer.headers.get("content-disposition").unwrap().to_str().unwrap().starts_with("attachment"));
    daylily
        .until("the use counted", async || {
            let again = asked(&daylily, Method::GET, &to, &[("Cookie", &cookie)]).await;
            (again.said() == (410, "link-used")).then_some(())
        })
        .await;
    let page = asked(&daylily, Method::GET, &link, &[BROWSER]).await;
    assert_eq!(page.said(), (410, "link-used"));
    assert!(page.text().contains("<h1>This link has already been used</h1>"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a110_scanners_previews_and_programs_use_nothing_up_and_get_no_bytes() {
    let (daylily, _, link, bytes) = to_confirm().await;
    for headers in [
        vec![],
        vec![("Accept", "*/*"), ("User-Agent", "MailScanner")],
        vec![("Accept", "application/pdf"), ("Range", "bytes=0-0")],
        vec![BROWSER, ("User-Agent", "WhatsApp/2.0")],
    ] {
        let got = asked(&daylily, Method::GET, &link, &headers).await;
        let is_page = headers.contains(&BROWSER);
        assert_eq!(got.status, if is_page { 200 } else { 403 }, "{headers:?}");
        assert_eq!(got.code(), if is_page { "" } else { "link-confirm-required" });
        assert!(!got.bytes.starts_with(b"%PDF") && got.headers.get("content-disposition").is_none());
        let head = asked(&daylily, Method::HEAD, &link, &headers).await;
        assert_eq!((head.status, head.header("content-length")), (200, ""), "{headers:?}");
        assert_eq!(asked(&daylily, Method::OPTIONS, &link, &headers).await.status, 204);
    }
    let cookie = cookie_of(&asked(&daylily, Method::GET, &link, &[BROWSER]).await);
    let pressed = asked(&daylily, Method::POST, &link, &[("Cookie", &cookie)]).await;
    let to = format!("{}{}", daylily.base(), pressed.header("location"));
    assert_eq!(asked(&daylily, Method::GET, &to, &[("Cookie", &cookie)]).await.bytes, bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a047_the_button_works_from_the_page_alone() {
    let (daylily, source, link, _) = to_confirm().await;
    let cookie = cookie_of(&asked(&daylily, Method::GET, &link, &[BROWSER]).await);
    let base = daylily.base();
    for (name, value, status) in [
        ("Sec-Fetch-Site", "cross-site", 403),
        ("Sec-Fetch-Site", "same-site", 403),
        ("Sec-Fetch-Site", "none", 403),
        ("Sec-Fetch-Site", "same-origin", 303),
        ("Origin", "https://evil.example", 403),
        ("Origin", "null", 403),
        ("Origin", &base, 303),
    ] {
        let answer = asked(&daylily, Method::POST, &link, &[BROWSER, ("Cookie", &cookie), (name, value)]).await;
        assert_eq!(answer.status, status, "{name}: {value}");
    }
    let without = asked(&daylily, Method::POST, &link, &[BROWSER]).await;
    assert_eq!(without.said(), (403, "link-confirm-required"));
    assert!(without.text().contains("<h1>Downloading needs a cookie</h1>") && !cookie_of(&without).is_empty());
    assert_eq!(asked(&daylily, Method::POST, &link, &[]).await.said(), (403, "link-confirm-required"));
    let (_, plain) = daylily.ready_link(&source, &pdf(2, 100)).await;
    for url in [plain, format!("{link}x"), format!("{base}/d/{}", "A".repeat(84))] {
        let refused = asked(&daylily, Method::POST, &url, &[("Cookie", &cookie)]).await;
        assert_eq!((refused.said(), refused.header("allow")), ((405, "method-not-allowed"), "GET, HEAD"));
    }
}
