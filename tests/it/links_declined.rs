//! What a link answers without a byte and without a use: to who comes ahead of the reader, to other spellings and methods, to
//! conditions (RFC 9110 §13); and that each of these answers is an entry.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::*;

const BROWSER: (&str, &str) = ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");
const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

struct Rig {
    daylily: TestDaylily,
    source: Actor,
    id: String,
    bytes: Vec<u8>,
}

impl Rig {
    async fn new(length: usize) -> Self {
        let daylily = TestDaylily::start_with("", |settings| settings.limits.downloads = 1).await;
        let source = daylily.source().await;
        let bytes = pdf(1, length);
        let id = daylily.ready(&source, &document("p1", &[inline("application/pdf", &bytes)])).await;
        Self { daylily, source, id, bytes }
    }

    /// A link of one use, for a recipient of its own.
    async fn once(&self, whom: &str, more: &[(&str, &str, Value)]) -> String {
        let mut parts = vec![
            ("uses", "valuePositiveInt", json!(1)),
            ("recipient", "valueReference", json!({ "reference": format!("Practitioner/{whom}") })),
        ];
        parts.extend_from_slice(more);
        let issued = self.source.post(&format!("DocumentReference/{}/$issue-link", self.id), &parameters(&parts)).await;
        text(parameter(&issued.ok(200), "url"), "/valueUrl")
    }

    async fn asked(&self, method: Method, url: &str, headers: &[(&str, &str)]) -> Answer {
        let request = self.daylily.http.request(method, url);
        Answer::of(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    }

    /// One answer with the entries that came with it, as `action outcome code bytes`.
    async fn entered(&self, method: Method, url: &str, headers: &[(&str, &str)]) -> (Answer, Vec<String>) {
        let before = self.daylily.log_size().await;
        let answer = self.asked(method, url, headers).await;
        let entries = self.daylily.log_since(before).await;
        let told = |entry: &LogEntry| {
            let part = |name: &str| entry.get(name).map_or_else(String::new, |value| format!(" {value}"));
            format!("{}{}{}", entry.what(), part("code"), part("bytes")).replace('"', "")
        };
        (answer, entries.iter().map(told).collect())
    }

    async fn claims(&self) -> i64 {
        self.daylily.stored_rows("SELECT count(*) AS n FROM link_claim")
    }
}

fn path(link: &str) -> &str {
    &link[link.find("/d/").unwrap()..]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a110_who_comes_ahead_of_the_reader_uses_nothing_up_and_is_told_so() {
    let rig = Rig::new(70_000).await;
    let (link, page) = (rig.once("1", &[]).await, rig.once("2", &[("confirm", "valueBoolean", json!(true))]).await);
    for ahead in [
        ("Sec-Purpose", "prefetch"),
        ("Sec-Purpose", "prefetch;prerender"),
        ("Sec-Purpose", "prefetch;anonymous-client-ip"),
        ("Purpose", "prefetch"),
        ("Purpose", "preview"),
        ("X-Purpose", "preview"),
        ("X-Moz", "prefetch"),
    ] {
        for (url, method) in [(&link, Method::GET), (&link, Method::HEAD), (&page, Method::GET), (&page, Method::HEAD)]
        {
            let (answer, entries) = rig.entered(method.clone(), url, &[BROWSER, ahead]).await;
            assert_eq!(answer.said(), (503, "link-prefetch"), "{method} {ahead:?}");
            assert_eq!(answer.header("cache-control"), "no-store");
            for absent in ["retry-after", "set-cookie", "content-disposition", "repr-digest", "etag"] {
                assert!(!answer.headers.contains_key(absent), "{method} {ahead:?}: {absent}");
            }
            assert_eq!(
                entries,
                ["link.redeem denied link-prefetch"].map(|entry| match method {
                    Method::HEAD => format!("{entry} 0"),
                    _ => entry.to_owned(),
                })
            );
        }
        let altered = rig.asked(Method::GET, &format!("{link}A"), &[ahead]).await;
        assert_eq!(altered.said(), (403, "link-invalid"), "{ahead:?}");
    }
    let told = rig.asked(Method::GET, &link, &[BROWSER, ("Sec-Purpose", "prefetch")]).await;
    assert!(told.text().contains("<h1>This link has not been opened yet</h1>"), "{}", told.text());
    assert!(told.text().contains("nothing was used up") && !told.text().contains("http-equiv=\"refresh\""));
    assert_eq!(rig.claims().await, 0);
    let clicked = rig.asked(Method::GET, &link, &[BROWSER]).await;
    assert_eq!((clicked.status, clicked.bytes), (200, rig.bytes.clone()));
}

/// Spellings of a path below `/d/` that are no link's.
fn spellings(token: &str) -> Vec<String> {
    let behind = [
        "=",
        "%3D",
        "%3d",
        "==",
        "%20",
        "+",
        "%2B",
        "/",
        "//",
        "/x",
        "%2F",
        ".",
        "%2E",
        "/.",
        "/..",
        ";x",
        ";",
        "~",
        ",",
        ":",
        "@",
        "!",
        "%00",
        "%0a",
        "%7f",
        "%ff",
        "%C3%A9",
        "%",
        "%4",
        "%zz",
        "%2541",
        "$",
        "&a=b",
        "'",
        "(",
        "*",
        "/%2e%2e/livez",
        "A",
        "%41",
    ];
    let mut all: Vec<String> = behind.iter().map(|end| format!("/d/{token}{end}")).collect();
    all.extend(["=", "%20", "/", "./", "../d/", "%2e/", "%00"].map(|front| format!("/d/{front}{token}")));
    all.extend(
        ["/d/", "/d//", "/d/.", "/d/..", "/d/%2e%2e/livez", "/d/../livez", "/d/%2F", "/d/not-a-link"]
            .map(str::to_owned),
    );
    // Equivalent by RFC 3986 §6.2.2.2, and still another spelling.
    let first = token.bytes().next().unwrap();
    all.extend([format!("/d/%{first:02X}{}", &token[1..]), format!("/d/%{first:02x}{}", &token[1..])]);
    all.push(format!("/d/{}", "A".repeat(2_000)));
    all
}

/// The answer to a path as it is written here, without its date.
async fn plainly(daylily: &TestDaylily, method: &str, path: &str) -> String {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {}\r\nX-Request-Id: same\r\nConnection: close\r\n\r\n",
        host(daylily)
    );
    let answer = String::from_utf8_lossy(&raw(daylily, &request).await).into_owned();
    let kept = answer.split_inclusive("\r\n").filter(|line| !line.to_ascii_lowercase().starts_with("date: "));
    // The framework writes headers in no order.
    let mut lines: Vec<&str> = kept.collect();
    lines.sort_unstable();
    lines.concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a100_a103_every_spelling_that_is_no_link_has_one_answer() {
    let rig = Rig::new(100).await;
    let link = rig.daylily.link(&rig.source, &rig.id).await;
    let good = path(&link);
    let token = good.strip_prefix("/d/").unwrap();
    for method in ["GET", "HEAD"] {
        let altered = plainly(&rig.daylily, method, &format!("{good}A")).await;
        assert!(altered.contains("HTTP/1.1 403 ") && altered.contains("daylily-error: link-invalid"), "{altered}");
        for spelling in spellings(token) {
            for query in ["", "?a=b", "?%00=;"] {
                let asked = format!("{spelling}{query}");
                assert_eq!(plainly(&rig.daylily, method, &asked).await, altered, "{method} {asked}");
            }
        }
    }
    assert!(
        plainly(&rig.daylily, "GET", &format!("{good}?x=%00")).await.contains("HTTP/1.1 200 "),
        "a query means nothing"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a127_a_link_lists_the_methods_that_it_takes_and_what_is_none_answers_as_a_plain_one() {
    let rig = Rig::new(100).await;
    let plain = rig.daylily.link(&rig.source, &rig.id).await;
    let page = rig.once("2", &[("confirm", "valueBoolean", json!(true))]).await;
    let (plain, page) = (path(&plain), path(&page));
    for method in ["PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "POST"] {
        let told = plainly(&rig.daylily, method, plain).await;
        assert!(told.contains("HTTP/1.1 405 ") && told.contains("allow: GET, HEAD\r\n"), "{method}: {told}");
        for none in spellings(plain.strip_prefix("/d/").unwrap()) {
            assert_eq!(plainly(&rig.daylily, method, &none).await, told, "{method} {none}");
        }
        if method != "POST" {
            let told = plainly(&rig.daylily, method, page).await;
            assert!(told.contains("HTTP/1.1 405 ") && told.contains("allow: GET, HEAD, POST\r\n"), "{method}: {told}");
        }
    }
    // However a plain link stands, it takes no POST.
    rig.daylily.clock.advance(std::time::Duration::from_secs(3600));
    assert!(plainly(&rig.daylily, "POST", plain).await.contains("HTTP/1.1 405 "));
    assert!(plainly(&rig.daylily, "GET", plain).await.contains("HTTP/1.1 410 "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_are_judged_before_a_use_is_claimed() {
    let rig = Rig::new(70_000).await;
    let link = rig.once("1", &[]).await;
    let head = rig.asked(Method::HEAD, &link, &[]).await;
    let (tag, modified) = (head.header("etag").to_owned(), head.header("last-modified").to_owned());
    let weak = format!("W/{tag}");
    for method in [Method::GET, Method::HEAD] {
        for failing in [("If-Match", "\"other\""), ("If-Match", weak.as_str()), ("If-Unmodified-Since", OLD)] {
            let answer = rig.asked(method.clone(), &link, &[failing, ("If-None-Match", &tag)]).await;
            assert_eq!(answer.said(), (412, "precondition-failed"), "{method} {failing:?}");
            assert!(!answer.headers.contains_key("etag") && answer.header("cache-control") == "no-store");
        }
        for known in [
            ("If-None-Match", tag.as_str()),
            ("If-None-Match", &weak),
            ("If-None-Match", "*"),
            ("If-Modified-Since", &modified),
        ] {
            let answer = rig.asked(method.clone(), &link, &[known, ("Range", "bytes=0-9")]).await;
            assert_eq!((answer.status, answer.code(), answer.bytes.len()), (304, "", 0), "{method} {known:?}");
            // RFC 9110 §15.4.5: what a 200 would say of these.
            assert_eq!((answer.header("etag"), answer.header("cache-control")), (tag.as_str(), "private, no-store"));
            assert!(!answer.headers.contains_key("content-disposition"));
        }
    }
    assert_eq!(rig.claims().await, 0);
    for met in [("If-Match", "*"), ("If-Unmodified-Since", modified.as_str()), ("If-None-Match", "\"other\"")] {
        assert_eq!(rig.asked(Method::HEAD, &link, &[met, ("If-Modified-Since", OLD)]).await.status, 200, "{met:?}");
    }
    let part = rig.asked(Method::GET, &link, &[("If-Match", &tag), ("Range", "bytes=0-9"), ("If-Range", &tag)]).await;
    assert_eq!((part.status, part.bytes.as_slice()), (206, &rig.bytes[..10]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_of_an_authentic_link_is_an_entry() {
    let rig = Rig::new(8_000_000).await;
    let link = rig.once("1", &[]).await;
    let tag = rig.asked(Method::HEAD, &link, &[]).await.header("etag").to_owned();
    for (method, headers, status, entry) in [
        (Method::GET, ("Range", "bytes=99999999-"), 416, "link.redeem denied range-not-satisfiable"),
        (Method::GET, ("If-Match", "\"x\""), 412, "link.redeem denied precondition-failed"),
        (Method::GET, ("If-None-Match", tag.as_str()), 304, "link.redeem ok 0"),
        (Method::HEAD, ("If-None-Match", &tag), 304, "link.redeem ok 0"),
        (Method::GET, ("Purpose", "prefetch"), 503, "link.redeem denied link-prefetch"),
        (Method::PUT, ("Accept", "*/*"), 405, "link.redeem denied method-not-allowed"),
        (Method::POST, ("Accept", "*/*"), 405, "link.redeem denied method-not-allowed"),
    ] {
        let (answer, entries) = rig.entered(method.clone(), &link, &[headers]).await;
        assert_eq!((answer.status, entries), (status, vec![entry.to_owned()]), "{method} {headers:?}");
    }
    assert_eq!(rig.claims().await, 0);
    // The one place for transfers, and the one use, are somebody's who reads nothing.
    let mut reader = RawConnection::to(&rig.daylily).await;
    reader.send(format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", path(&link), host(&rig.daylily)).as_bytes()).await;
    rig.daylily.until("the use claimed", async || (rig.claims().await == 1).then_some(())).await;
    let other = rig.daylily.link(&rig.source, &rig.id).await;
    let (answer, entries) = rig.entered(Method::GET, &other, &[]).await;
    assert_eq!((answer.said(), entries), ((503, "server-busy"), vec!["link.redeem denied server-busy".to_owned()]));
    let (answer, entries) = rig.entered(Method::GET, &link, &[("Range", "bytes=99999999-")]).await;
    assert!(matches!(answer.status, 409 | 416), "{}", answer.status);
    assert_eq!(entries, [format!("link.redeem denied {}", answer.code())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_used_up_says_so_whatever_is_asked_of_it() {
    let rig = Rig::new(100).await;
    let link = rig.once("1", &[]).await;
    let whole = rig.asked(Method::GET, &link, &[]).await;
    let tag = whole.header("etag").to_owned();
    rig.daylily.until("used", async || (rig.asked(Method::HEAD, &link, &[]).await.status == 410).then_some(())).await;
    // RFC 9110 §13.2.1: conditions are ignored where the answer would not have been a good one without them.
    for headers in [("If-None-Match", tag.as_str()), ("If-Match", "\"x\""), ("Range", "bytes=99999999-")] {
        let (answer, entries) = rig.entered(Method::GET, &link, &[headers]).await;
        assert_eq!(answer.said(), (410, "link-used"), "{headers:?}");
        assert_eq!(entries, ["link.redeem denied link-used"], "{headers:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_of_a_binary_is_an_entry() {
    let rig = Rig::new(70_000).await;
    let made = rig.source.upload("application/pdf", &rig.bytes).await.ok(201);
    let url = format!("{}/fhir/Binary/{}", rig.daylily.base(), text(&made, "/id"));
    let bearer = format!("Bearer {}", rig.source.token().await);
    let with = |header| [("Authorization", bearer.as_str()), header];
    let whole = rig.asked(Method::GET, &url, &with(("Accept", "*/*"))).await;
    assert_eq!((whole.status, whole.header("x-accel-buffering")), (200, "no"));
    let tag = whole.header("etag").to_owned();
    rig.daylily
        .until("its end", async || {
            let all = rig.daylily.log_since(0).await;
            all.last().is_some_and(|entry| entry.what() == "binary.read ok").then_some(())
        })
        .await;
    for (header, status, entry) in [
        (("Accept", "image/png"), 406, "binary.read denied accept-unsupported"),
        (("Range", "bytes=99999999-"), 416, "binary.read denied range-not-satisfiable"),
        (("If-Match", "\"x\""), 412, "binary.read denied precondition-failed"),
        (("If-Unmodified-Since", OLD), 412, "binary.read denied precondition-failed"),
        (("If-None-Match", tag.as_str()), 304, "binary.read ok 0"),
    ] {
        let (answer, entries) = rig.entered(Method::GET, &url, &with(header)).await;
        assert_eq!((answer.status, entries), (status, vec![entry.to_owned()]), "{header:?}");
    }
}
