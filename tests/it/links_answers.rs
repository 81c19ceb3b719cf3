//! Attacks on how a link is answered, by their numbers (A116 to A127).

use reqwest::Method;
use serde_json::json;

use crate::support::links::*;
use crate::support::*;

/// URL, headers, status.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], u16);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a116_a117_nothing_of_a_link_is_kept_framed_or_sniffed() {
    let (daylily, source, id, _) = released("", 70_000).await;
    let link = daylily.link(&source, &id).await;
    let whole = daylily.get(&link).await;
    let (tag, modified) = (whole.header("etag").to_owned(), whole.header("last-modified").to_owned());
    // Who names the bytes has them (RFC 9110 §13.1.2); that is no leave for others to keep them.
    for condition in [("If-None-Match", tag.as_str()), ("If-None-Match", "*"), ("If-Modified-Since", &modified)] {
        let answer = asked(&daylily, Method::GET, &link, &[condition]).await;
        assert_eq!((answer.status, answer.bytes.len()), (304, 0), "{condition:?}");
        assert_eq!(answer.header("cache-control"), "private, no-store", "{condition:?}");
    }
    let (broken, outside) = (format!("{link}x"), [("Range", "bytes=99999999-")]);
    let cases: [Case<'_>; 5] = [
        (&link, &[], 200),
        (&link, &[("Range", "bytes=1-2")], 206),
        (&link, &outside, 416),
        (&broken, &[], 403),
        (&broken, &[("Accept", "text/html")], 403),
    ];
    for (url, headers, status) in cases {
        let answer = asked(&daylily, Method::GET, url, headers).await;
        assert_eq!(answer.status, status, "{headers:?}");
        assert!(answer.header("cache-control").contains("no-store"), "{status}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{status}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{status}");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin", "{status}");
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!(status < 300, policy.contains("sandbox"), "{status}: {policy}");
        assert_eq!(status < 300, answer.header("content-disposition").starts_with("attachment"), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a119_no_name_that_a_request_brings_gets_into_a_link() {
    let (daylily, source, id, _) = released("", 100).await;
    let link = daylily.link(&source, &id).await;
    let (own, path) = (host(&daylily), path(&link).to_owned());
    for (heads, statuses) in [
        (format!("GET {path} HTTP/1.1\r\nHost: evil.example\r\n"), &[421][..]),
        (format!("GET {path} HTTP/1.1\r\nHost: {own}\r\nHost: evil.example\r\n"), &[400]),
        (format!("GET {path} HTTP/1.1\r\nHost: {own}\r\nHost: {own}\r\n"), &[400]),
        (format!("GET {path} HTTP/1.1\r\n"), &[400]),
        (format!("GET http://evil.example{path} HTTP/1.1\r\nHost: {own}\r\n"), &[400, 421]),
        (format!("GET {path} HTTP/1.1\r\nHost: user@{own}\r\n"), &[400, 421]),
        (format!("GET {path} HTTP/1.1\r\nHost: {own} evil.example\r\n"), &[400, 421]),
        (format!("GET {path} HTTP/1.1\r\nHost: {own}.evil.example\r\n"), &[400, 421]),
        (format!("GET {path} HTTP/1.1\r\nHost : {own}\r\n"), &[400]),
    ] {
        let answer = raw(&daylily, &format!("{heads}Connection: close\r\n\r\n")).await;
        assert!(statuses.contains(&status(&answer)), "{heads}: {}", status(&answer));
        assert!(!holds(&answer, b"%PDF") && !holds(&answer, b"evil.example/"), "{heads}");
    }
    for (name, value) in [
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Proto", "https"),
        ("Forwarded", "host=evil.example;proto=https"),
        ("X-Original-Host", "evil.example"),
        ("X-Forwarded-Prefix", "/evil"),
    ] {
        let request = source.request(Method::GET, &format!("DocumentReference/{id}")).await.header(name, value);
        let shown = Answer::of(request).await.ok(200);
        let url = text(&shown, "/content/0/attachment/url");
        assert!(url.starts_with(&format!("{}/d/", daylily.base())), "{name}: {url}");
        assert!(!shown.to_string().contains("evil"), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a122_no_range_makes_an_answer_larger_than_the_file() {
    let (daylily, source, id, bytes) = released("", 3_000).await;
    let link = daylily.link(&source, &id).await;
    let many = |part: &str| format!("bytes={}", vec![part; 1_000].join(","));
    let ranges = [
        many("0-"),
        many("0-1000"),
        many("-1"),
        (0..1_000).fold("bytes=".to_owned(), |set, at| format!("{set}{at}-{},", at + 1)) + "5-6",
        "bytes=0-,0-".to_owned(),
        "bytes=-0".to_owned(),
        "bytes=9999999999999999999-".to_owned(),
        "bytes=0-99999999999999999999999999".to_owned(),
        "bytes=--1".to_owned(),
        "bytes=5-1,0-".to_owned(),
    ];
    for range in ranges {
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nRange: {range}\r\nConnection: close\r\n\r\n",
            path(&link),
            host(&daylily)
        );
        let answer = raw(&daylily, &request).await;
        let short: String = range.chars().take(40).collect();
        assert!(matches!(status(&answer), 200 | 206 | 416), "{short}: {}", status(&answer));
        assert!(answer.len() <= bytes.len() + 1_024, "{short}: {} bytes", answer.len());
        assert!(!holds(&answer, b"multipart/byteranges"), "{short}");
        if status(&answer) == 416 {
            assert!(holds(&answer.to_ascii_lowercase(), format!("content-range: bytes */{}", bytes.len()).as_bytes()));
        }
    }
    // Two Range headers are no list.
    let twice = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nRange: bytes=0-1\r\nRange: bytes=2-3\r\nConnection: close\r\n\r\n",
        path(&link),
        host(&daylily)
    );
    assert_eq!(status(&raw(&daylily, &twice).await), 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a123_parts_of_two_files_are_never_joined() {
    let (daylily, source, id, bytes) = released("", 70_000).await;
    let other = pdf(2, 70_000);
    let second = daylily.ready(&source, &document("p1", &[inline("application/pdf", &other)])).await;
    let (link, foreign) = (daylily.link(&source, &id).await, daylily.link(&source, &second).await);
    let foreign_tag = daylily.get(&foreign).await.header("etag").to_owned();
    let own_tag = daylily.get(&link).await.header("etag").to_owned();
    assert_ne!(own_tag, foreign_tag);
    for tag in [foreign_tag, format!("W/{own_tag}"), format!("{own_tag}, {own_tag}"), own_tag.to_uppercase()] {
        let answer = asked(&daylily, Method::GET, &link, &[("Range", "bytes=100-199"), ("If-Range", &tag)]).await;
        assert_eq!((answer.status, &answer.bytes), (200, &bytes), "{tag}");
    }
    let part = asked(&daylily, Method::GET, &link, &[("Range", "bytes=100-199"), ("If-Range", &own_tag)]).await;
    assert_eq!((part.status, part.bytes.as_slice()), (206, &bytes[100..200]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a124_every_pair_of_places_around_the_borders_of_sealed_chunks() {
    let (daylily, source, id, bytes) = released("", 3 * 65_536 - 600).await;
    assert!(bytes.len() > 65_536 * 2);
    let link = daylily.link(&source, &id).await;
    let last = bytes.len() - 1;
    let places: Vec<usize> = [0, 65_535, 65_536, 65_537, 131_071, 131_072, 131_073, last - 1, last].to_vec();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for (at, from) in places.iter().enumerate() {
        for to in &places[at..] {
            let answer = Answer::of(http.get(&link).header("Range", format!("bytes={from}-{to}"))).await;
            assert_eq!(answer.status, 206, "{from}-{to}");
            assert!(answer.bytes == bytes[*from..=*to], "{from}-{to}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a125_a_media_type_that_holds_a_line_is_refused_when_it_comes() {
    let daylily = TestDaylily::start_with("", |_| {}).await;
    let source = daylily.source().await;
    for odd in
        ["text/html\r\nX-Evil: y", "text/html\nX-Evil: y", "text/pla\u{0}in", "text/plain\u{85}X: y", "text", "a b/c"]
    {
        let answer = source.post("DocumentReference", &document("p1", &[inline(odd, b"a letter")])).await;
        assert!(matches!(answer.status, 400 | 415 | 422), "{odd:?}: {}", answer.status);
        assert!(!answer.text().contains("Evil"), "nor repeated");
        let binary = json!({ "resourceType": "Binary", "contentType": odd, "data": "YQ==" });
        let answer = source.post("Binary", &binary).await;
        assert!(matches!(answer.status, 400 | 415 | 422), "Binary {odd:?}: {}", answer.status);
    }
    // What a policy lets in by name is sent under that name alone, whatever parameters came along.
    let accepted = document("p1", &[inline("text/plain; charset=utf-8; x=\"</script>\"", b"a letter")]);
    let id = daylily.ready(&source, &accepted).await;
    let answer = daylily.get(&daylily.link(&source, &id).await).await;
    assert!(
        answer.header("content-type").starts_with("text/plain")
            || answer.header("content-type") == "application/octet-stream"
    );
    assert!(!answer.header("content-type").contains("script"), "{}", answer.header("content-type"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a126_nothing_that_holds_a_secret_is_compressed() {
    let rule =
        "[[rule]]\nname = \"page\"\nlink = { confirm = true }\nwhen = { type = [\"http://loinc.org|11488-4\"] }\n";
    let daylily = TestDaylily::start_with(rule, |_| {}).await;
    let source = daylily.source().await;
    let bytes = vec![b'a'; 50_000];
    let id = daylily.ready(&source, &document("p1", &[inline("text/plain", &bytes)])).await;
    let link = daylily.link(&source, &id).await;
    let mut confirmed = document("p1", &[inline("text/plain", &bytes)]);
    confirmed["type"] = json!({ "coding": [{ "system": "http://loinc.org", "code": "11488-4" }] });
    let page = issued(&source, &daylily.ready(&source, &confirmed).await, &[]).await;
    let all = ("Accept-Encoding", "gzip, br, deflate, zstd, *;q=1");
    let bearer = format!("Bearer {}", source.token().await);
    let search = format!("{}/fhir/DocumentReference?patient=p1", daylily.base());
    for (url, headers) in [
        (link.as_str(), &[all][..]),
        (&page, &[all, ("Accept", "text/html")]),
        (&format!("{link}x"), &[all, ("Accept", "text/html")]),
        (&search, &[all, ("Authorization", &bearer)]),
        (&format!("{}/fhir/metadata", daylily.base()), &[all]),
    ] {
        let answer = asked(&daylily, Method::GET, url, headers).await;
        assert!(!answer.headers.contains_key("content-encoding"), "{url}");
        assert!(!answer.headers.contains_key("transfer-encoding") || answer.status != 200, "{url}");
    }
    assert_eq!(asked(&daylily, Method::GET, &link, &[all]).await.bytes, bytes);
    let token = source.ask_token(&source.assertion(), FULL).await;
    assert!(token.status == 200 && !token.headers.contains_key("content-encoding"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a127_other_methods_on_a_link_do_nothing() {
    let (daylily, source, id, _) = released("", 100).await;
    let link = daylily.link(&source, &id).await;
    for method in ["TRACE", "PROPFIND", "POST", "PUT", "DELETE", "PATCH", "MOVE", "SEARCH", "get", "GETX"] {
        let request = format!(
            "{method} {} HTTP/1.1\r\nHost: {}\r\nX-Secret: echo\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            path(&link),
            host(&daylily)
        );
        let answer = raw(&daylily, &request).await;
        assert_eq!(status(&answer), 405, "{method}");
        assert!(holds(&answer.to_ascii_lowercase(), b"allow: get, head"), "{method}");
        assert!(!holds(&answer, b"echo") && !holds(&answer, b"%PDF"), "{method}");
    }
    let tunnel = raw(&daylily, "CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n").await;
    assert!(matches!(status(&tunnel), 400 | 405 | 421), "{}", status(&tunnel));
    assert_eq!(daylily.get(&link).await.status, 200);
}
