//! Attacks on what is sent in, by their numbers (A128 to A157): what files are, and what is said of them.

use std::io::{Cursor, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::json;

use crate::content_stored::{filing, stored};
use crate::support::*;

const DOCX: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
const TAKES_MUCH: &str = "[default]\naccept = [\"application/pdf\", \"text/plain\", \"text/xml\", \"image/svg+xml\", \"image/gif\", \
    \"application/zip\", \"application/gzip\", \"application/octet-stream\", \
    \"application/vnd.openxmlformats-officedocument.wordprocessingml.document\"]\n";

fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

/// The start of a program for Windows.
fn program() -> Vec<u8> {
    let mut program = b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0".to_vec();
    program.resize(60, 0);
    program.extend_from_slice(b"\x40\0\0\0PE\0\0");
    program
}

fn docx(more: &[(&str, &[u8])]) -> Vec<u8> {
    let types =
        br#"<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>"#;
    let body = br#"<?xml version="1.0"?><w:document xmlns:w="x"><w:body/></w:document>"#;
    let mut parts: Vec<(&str, &[u8])> = vec![("[Content_Types].xml", types), ("word/document.xml", body)];
    parts.extend_from_slice(more);
    zip(&parts)
}

/// Row, declared type, bytes, and what they are found to be.
fn corpus() -> Vec<(&'static str, &'static str, Vec<u8>, &'static str)> {
    let archive = zip(&[("a.txt", b"x")]);
    let virus = eicar();
    let mut deep = virus.clone();
    for _ in 0..20 {
        deep = zip(&[("a.zip", &deep)]);
    }
    let mut locked = zip(&[("a.txt", b"x")]);
    locked[6] |= 1;
    let wrapped = format!("<?xml version='1.0'?><a><b>{}</b></a>", STANDARD.encode([&virus[..], &[b' '; 9]].concat()));
    let script = pdf(1, 10);
    let script = String::from_utf8(script)
        .unwrap()
        .replace("/Type /Catalog", "/Type /Catalog /OpenAction <</S /JavaScript /JS (x)>>");
    vec![
        ("A128", "application/pdf", program(), "executable"),
        ("A128", "application/pdf", b"<!DOCTYPE html><html><body>Hi</body></html>".to_vec(), "type-mismatch"),
        ("A128", "application/pdf", archive.clone(), "type-mismatch"),
        ("A128", "application/octet-stream", program(), "executable"),
        ("A129", "image/gif", [b"GIF89a\x01\0\x01\0\0\0\0;".as_slice(), &archive].concat(), "type-mismatch"),
        ("A129", "application/pdf", [pdf(1, 10), archive.clone()].concat(), "type-mismatch"),
        ("A129", "application/pdf", script.into_bytes(), "active-script"),
        (
            "A130",
            "image/svg+xml",
            b"<svg xmlns='http://www.w3.org/2000/svg'><script>x</script></svg>".to_vec(),
            "active-script",
        ),
        (
            "A130",
            "text/xml",
            b"<?xml version='1.0'?><?xml-stylesheet href='javascript:x'?><ClinicalDocument/>".to_vec(),
            "active-script",
        ),
        ("A131", DOCX, docx(&[("word/vbaProject.bin", b"\xd0\xcf")]), "macro"),
        ("A132", "text/plain", virus.clone(), "malware"),
        ("A132", "text/plain", [vec![b' '; 10 << 20], virus.clone()].concat(), "malware"),
        ("A132", "application/zip", zip(&[("inner.zip", &zip(&[("a.com", &virus)]))]), "executable"),
        ("A132", "application/zip", zip(&[("inner.zip", &zip(&[("a.txt", &virus)]))]), "malware"),
        ("A132", DOCX, docx(&[("word/media/x.bin", &virus)]), "malware"),
        ("A132", "application/gzip", gzip(&virus), "malware"),
        ("A132", "text/xml", wrapped.into_bytes(), "malware"),
        ("A133", "application/zip", deep, "archive-bomb"),
        ("A133", "application/zip", zip(&[("z", &vec![0; 50 << 20])]), "archive-bomb"),
        ("A134", "application/zip", locked, "encrypted"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a128_a129_a130_a131_a132_a133_a134_what_is_not_what_it_should_be_never_leaves() {
    let daylily = TestDaylily::start_with(TAKES_MUCH, |_| {}).await;
    let source = daylily.source().await;
    let mut sent = Vec::new();
    for (row, declared, bytes, finding) in corpus() {
        let file = text(&source.upload(declared, &bytes).await.ok(201), "/id");
        let body = document("p1", &[named(declared, &format!("Binary/{file}"))]);
        let id = text(&source.post("DocumentReference", &body).await.ok(201), "/id");
        sent.push((row, id, file, finding));
    }
    let honest = daylily.ready(&source, &document("p1", &[inline("application/pdf", &pdf(1, 100))])).await;
    for (row, id, file, finding) in sent {
        daylily.wait(&source, &id, "quarantined").await;
        let steps = source.get(&format!("DocumentReference/{id}/$lifecycle")).await.ok(200).to_string();
        assert!(steps.contains(finding), "{row}, {finding}: {steps}");
        let issued = source.post(&format!("DocumentReference/{id}/$issue-link"), &parameters(&[])).await;
        assert_eq!(issued.said(), (403, "content-quarantined"), "{row} {finding}");
        let by_hand = daylily.get(&daylily.link_by_hand("source", &id).await).await;
        assert_eq!(by_hand.said(), (403, "content-quarantined"), "{row} {finding}");
        let raw =
            Answer::of(source.request(Method::GET, &format!("Binary/{file}")).await.header("Accept", "*/*")).await;
        assert!(raw.status >= 400, "{row} {finding}: its own sender's handle: {}", raw.status);
    }
    assert_eq!(daylily.get(&daylily.link(&source, &honest).await).await.status, 200);
    daylily.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a140_no_name_that_is_sent_becomes_a_path() {
    let daylily = filing("").await;
    let source = daylily.source().await;
    let beside = |daylily: &TestDaylily| std::fs::read_dir(daylily.data().parent().unwrap()).unwrap().count();
    let before = beside(&daylily);
    for evil in
        ["../../x", "..\\..\\x", "/etc/passwd", "C:\\x", "%2e%2e%2fx", "a/../../b", "NUL", "x\u{2215}..", "~root"]
    {
        let mut attachment = inline("application/pdf", &pdf(1, 100));
        attachment["title"] = json!(evil);
        attachment["id"] = json!("a1");
        let answer = source.post("DocumentReference", &document("p1", &[attachment])).await;
        assert_eq!(answer.status, 201, "{evil}: a title is a text");
        for url in
            [format!("Binary/{evil}"), format!("{}/d/{evil}", daylily.base()), format!("Binary/{evil}/_history/1")]
        {
            let answer = source.post("DocumentReference", &document("p1", &[named("application/pdf", &url)])).await;
            assert!((400..=422).contains(&answer.status), "{url}: {}", answer.status);
        }
        let request = source.request(Method::POST, "Binary").await.header("Content-Type", "text/plain");
        let request = request.header("Idempotency-Key", evil.replace('\u{2215}', "/")).header("Slug", "../../x");
        let answer = Answer::of(request.body("a letter")).await;
        assert!(answer.status == 201 || answer.status == 400, "{evil}: {}", answer.status);
    }
    let root = daylily.data().join("blobs");
    for path in stored(&daylily) {
        let inner = path.strip_prefix(&root).unwrap().to_str().unwrap();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '/';
        assert!(inner.chars().all(plain), "the server's own names alone: {inner}");
    }
    assert_eq!(beside(&daylily), before, "and nothing beside the data folder");
}

/// Rows of files, and files on disk.
fn kept(daylily: &TestDaylily) -> (i64, usize) {
    (daylily.stored_rows("SELECT count(*) AS n FROM file"), stored(daylily).len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a142_bytes_that_are_not_those_declared_are_refused_and_not_kept() {
    let daylily = filing("").await;
    let source = daylily.source().await;
    let bytes = b"a letter".to_vec();
    let sha256 = sha256(&bytes);
    let sha1 =
        STANDARD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &bytes).as_ref());
    let good = json!({ "contentType": "text/plain", "data": STANDARD.encode(&bytes), "size": 8, "hash": sha1 });
    source.post("DocumentReference", &document("p1", std::slice::from_ref(&good))).await.ok(201);
    let before = kept(&daylily);
    for (name, value, codes) in [
        ("size", json!(7), &["content-mismatch"][..]),
        ("size", json!(9), &["content-mismatch"]),
        ("size", json!(0), &["content-mismatch"]),
        ("size", json!(-8), &["value-malformed"]),
        ("size", json!(4_294_967_304_u64), &["content-mismatch", "value-malformed"]),
        ("size", json!(8.5), &["value-malformed"]),
        ("hash", json!("2jmj7l5rSw0yVb/vlWAYkK/YBwk="), &["content-mismatch"]),
        ("hash", json!("YQ=="), &["value-malformed"]),
        ("hash", json!(STANDARD.encode(sha256)), &["value-malformed"]),
    ] {
        let mut wrong = good.clone();
        wrong[name] = value.clone();
        let answer = source.post("DocumentReference", &document("p1", &[wrong])).await;
        assert!(matches!(answer.status, 400 | 422), "{name} {value}: {}", answer.status);
        assert!(codes.contains(&answer.code()), "{name} {value}: {}", answer.code());
    }
    // The same of a file that came before.
    let file = text(&source.upload("text/plain", &bytes).await.ok(201), "/id");
    for (name, value) in [("size", json!(7)), ("hash", json!("2jmj7l5rSw0yVb/vlWAYkK/YBwk="))] {
        let mut wrong = named("text/plain", &format!("Binary/{file}"));
        wrong[name] = value;
        let answer = source.post("DocumentReference", &document("p1", &[wrong])).await;
        assert_eq!(answer.said(), (422, "content-mismatch"), "{name}");
    }
    let with = async |name: &str, value: &str| {
        let request = source.request(Method::POST, "Binary").await.header("Content-Type", "text/plain");
        Answer::of(request.header(name, value).body(bytes.clone())).await
    };
    let other = format!("sha-256=:{}:", STANDARD.encode([7; 32]));
    let right = format!("sha-256=:{}:", STANDARD.encode(sha256));
    for (name, value, said) in [
        ("Content-Digest", other.as_str(), (422, "content-mismatch")),
        ("Repr-Digest", &other, (422, "content-mismatch")),
        ("Digest", &other.replace(':', ""), (422, "content-mismatch")),
        ("Content-Digest", "crc32=:YQ==:", (400, "parameter-malformed")),
        ("Content-MD5", "HUXZLQLMuI/KZ5KDcJPcOA==", (400, "parameter-malformed")),
        ("Content-Digest", &right, (201, "")),
    ] {
        let answer = with(name, value).await;
        assert_eq!(answer.said(), said, "{name}: {}", answer.text());
    }
    assert_eq!(kept(&daylily), (before.0 + 2, before.1 + 2), "only what was right is there");
}

/// A POST of bytes as they are, with a token.
async fn post_raw(daylily: &TestDaylily, source: &Actor, path: &str, heads: &str, body: &str) -> Vec<u8> {
    let token = source.token().await;
    let (host, close) = (host(daylily), "Connection: close");
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n{close}\r\n{heads}\r\n{body}"
    );
    raw(daylily, &request).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a143_lengths_that_lie_store_nothing_or_exactly_what_they_say() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let daylily = filing("").await;
    let source = daylily.source().await;
    let text_type = "Content-Type: text/plain\r\n";
    let send = async |heads: &str, body: &str| {
        post_raw(&daylily, &source, "/fhir/Binary", &format!("{text_type}{heads}"), body).await
    };
    for (heads, body) in [
        ("Content-Length: -5\r\n", "hello"),
        ("Content-Length: +5\r\n", "hello"),
        ("Content-Length: 5, 5\r\n", "hello"),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", "hello!"),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ("Content-Length: 18446744073709551616\r\n", "hello"),
        ("Content-Length: 0x5\r\n", "hello"),
        ("Transfer-Encoding: chunked\r\n", "-5\r\nhello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "zz\r\nhello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "ffffffffffffffff1\r\nhello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "5\r\nhelloX\r\n0\r\n\r\n"),
        ("Transfer-Encoding: gzip, chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ] {
        let answer = send(heads, body).await;
        let status = if answer.is_empty() { 0 } else { status(&answer) };
        assert!(status == 0 || (400..=501).contains(&status) && status != 500, "{heads:?}: {status}");
    }
    // Shorter than it says: the connection ends in the middle.
    let token = source.token().await;
    for framing in ["Content-Length: 50\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"] {
        let mut socket = tokio::net::TcpStream::connect(daylily.running().address()).await.unwrap();
        let head = format!(
            "POST /fhir/Binary HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n{text_type}",
            host(&daylily)
        );
        socket.write_all(format!("{head}{framing}").as_bytes()).await.unwrap();
        socket.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut answer)).await.expect("an end");
        assert!(answer.is_empty() || status(&answer) >= 400, "{framing:?}");
    }
    daylily.until("all is gone", async || (kept(&daylily) == (0, 0)).then_some(())).await;
    // Longer than it says: what is too much is no part of it.
    let answer = send("Content-Length: 5\r\n", "helloEXTRA").await;
    assert_eq!(status(&answer), 201);
    let answer = send("Transfer-Encoding: chunked\r\n", "2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n").await;
    assert_eq!(status(&answer), 201);
    assert_eq!(daylily.stored_rows("SELECT count(*) AS n FROM file WHERE size = 5"), 2);
    assert_eq!(kept(&daylily), (2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a143_a_file_of_no_bytes_is_one_of_no_bytes() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let uploaded = source.upload("text/plain", b"").await;
    let file = text(&uploaded.ok(201), "/id");
    let id = daylily.ready(&source, &document("p1", &[named("text/plain", &format!("Binary/{file}"))])).await;
    let link = daylily.link(&source, &id).await;
    let whole = daylily.get(&link).await;
    assert_eq!((whole.status, whole.header("content-length"), whole.bytes.len()), (200, "0", 0));
    let part = Answer::of(daylily.http.get(&link).header("Range", "bytes=0-0")).await;
    assert_eq!((part.status, part.header("content-range")), (416, "bytes */0"));
    // Declared otherwise, it is not what was declared.
    let mut wrong =
        named("text/plain", &format!("Binary/{}", text(&source.upload("text/plain", b"").await.ok(201), "/id")));
    wrong["size"] = json!(1);
    assert_eq!(source.post("DocumentReference", &document("p1", &[wrong])).await.said(), (422, "content-mismatch"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a148_what_is_too_large_is_refused_by_its_announcement_and_by_its_stream() {
    let policy = "[default]\nmax-size = \"100KiB\"\n";
    let daylily = TestDaylily::start_with(policy, |settings| {
        settings.limits.json_body = 200 * 1024;
        settings.limits.inline_threshold = 0;
    })
    .await;
    let source = daylily.source().await;
    // Not a byte of these bodies is sent: the answer comes for the announcement.
    for (path, media, announced, code) in [
        ("/fhir/Binary", "text/plain", 102_401_u64, "content-too-large"),
        ("/fhir/Binary", "text/plain", u64::MAX / 2, "content-too-large"),
        ("/fhir/Binary", "application/fhir+json", 204_801, "request-too-large"),
        ("/fhir/DocumentReference", "application/fhir+json", 1 << 40, "request-too-large"),
    ] {
        let heads = format!("Content-Type: {media}\r\nContent-Length: {announced}\r\n");
        let answer = post_raw(&daylily, &source, path, &heads, "").await;
        assert_eq!(status(&answer), 413, "{path} {media} {announced}");
        assert!(holds(&answer, format!("daylily-error: {code}").as_bytes()), "{path} {media}");
    }
    let endless = format!("{}0\r\n\r\n", format!("1000\r\n{}\r\n", "x".repeat(4_096)).repeat(60));
    for (media, code) in [("text/plain", "content-too-large"), ("application/fhir+json", "request-too-large")] {
        let heads = format!("Content-Type: {media}\r\nTransfer-Encoding: chunked\r\n");
        let answer = post_raw(&daylily, &source, "/fhir/Binary", &heads, &endless).await;
        assert_eq!(status(&answer), 413, "{media}");
        assert!(holds(&answer, format!("daylily-error: {code}").as_bytes()), "{media}");
    }
    // Base64 is a third longer than what it holds: what counts is what it holds.
    let most = vec![b'a'; 102_400];
    source.post("DocumentReference", &document("p1", &[inline("text/plain", &most)])).await.ok(201);
    let more = [most.as_slice(), b"a"].concat();
    let answer = source.post("DocumentReference", &document("p1", &[inline("text/plain", &more)])).await;
    assert_eq!(answer.said(), (413, "content-too-large"));
    assert_eq!(source.upload("text/plain", &most).await.status, 201, "the limit itself is taken");
    assert_eq!(kept(&daylily), (2, 2), "what was refused left nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a150_nobody_is_asked_to_send_what_will_be_refused() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let (own, token) = (host(&daylily), source.token().await);
    let expecting = |credentials: &str, length: u64| {
        format!(
            "POST /fhir/Binary HTTP/1.1\r\nHost: {own}\r\n{credentials}Content-Type: text/plain\r\n\
             Content-Length: {length}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        )
    };
    let bearer = format!("Authorization: Bearer {token}\r\n");
    for (credentials, length, expected) in
        [("", 5, 401), ("Authorization: Bearer nonsense\r\n", 1 << 40, 401), (bearer.as_str(), 1 << 40, 413)]
    {
        let answer = raw(&daylily, &expecting(credentials, length)).await;
        assert_eq!(status(&answer), expected, "{}", String::from_utf8_lossy(&answer));
        assert!(!holds(&answer, b"100 Continue"), "{expected}");
    }
    // An honest one is asked, and then its bytes are taken.
    let mut socket = tokio::net::TcpStream::connect(daylily.running().address()).await.unwrap();
    socket.write_all(expecting(&bearer, 5).as_bytes()).await.unwrap();
    let mut asked = [0; 25];
    tokio::time::timeout(PATIENCE, socket.read_exact(&mut asked)).await.expect("to be asked").unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(b"hello").await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, socket.read_to_end(&mut answer)).await.expect("an answer").unwrap();
    assert_eq!(status(&answer), 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a151_a152_forms_and_encodings_are_not_unpacked() {
    let daylily = filing("").await;
    let source = daylily.source().await;
    let part = "--b\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\nx\r\n";
    let form = format!("{}--b--\r\n", part.repeat(10_000));
    for path in ["DocumentReference", "Patient", "DocumentReference/_search"] {
        for media in ["multipart/form-data; boundary=b", "multipart/related; boundary=b", "multipart/mixed"] {
            let request = source.request(Method::POST, path).await.header("Content-Type", media);
            let answer = Answer::of(request.body(form.clone())).await;
            assert_eq!(answer.said(), (415, "media-type-unsupported"), "{path} {media}");
        }
    }
    // As a file it is bytes of a type that the policy does not take.
    let file = source.upload("multipart/form-data; boundary=b", form.as_bytes()).await;
    if file.status == 201 {
        let url = format!("Binary/{}", text(&file.json(), "/id"));
        let answer = source.post("DocumentReference", &document("p1", &[named("multipart/form-data", &url)])).await;
        assert!(matches!(answer.status, 415 | 422), "{}", answer.text());
    }
    let before = kept(&daylily);
    let bomb = gzip(&vec![b' '; 8 << 20]);
    for (path, media) in
        [("Binary", "text/plain"), ("Binary", "application/fhir+json"), ("DocumentReference", "application/fhir+json")]
    {
        for encoding in ["gzip", "gzip, gzip", "deflate", "br", "zstd", "GZIP", "x-unheard-of", "identity, gzip"] {
            let request = source.request(Method::POST, path).await.header("Content-Type", media);
            let answer = Answer::of(request.header("Content-Encoding", encoding).body(bomb.clone())).await;
            assert_eq!(answer.said(), (415, "media-type-unsupported"), "{path} {media} {encoding}");
        }
    }
    assert_eq!(kept(&daylily), before);
}
