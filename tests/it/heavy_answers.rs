//! What one client has stored weighs in the answers that others get: it neither ends their searches nor takes the memory of all.

use daylily::config::Settings;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::*;

/// Longer than what a connection's buffers hold.
const LONG: usize = 4 << 20;

fn about(subject: &str) -> Value {
    let mut document = to_recipient(document("p1", &[inline("text/plain", b"Hello")]), "good");
    document["subject"] = json!({"reference": subject});
    document
}

/// A document with a narrative of so many bytes.
fn narrated(length: usize) -> Value {
    let mut document = document("p1", &[inline("text/plain", b"Hello")]);
    let text = "a".repeat(length);
    let div = format!("<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>{text}</p></div>");
    document["text"] = json!({"status": "generated", "div": div});
    document
}

/// Pages of a search, to the last.
async fn pages(actor: &Actor, path: &str) -> Vec<Vec<String>> {
    let (mut pages, mut next) = (Vec::new(), Some(path.to_owned()));
    while let Some(path) = next {
        let bundle = actor.get(&path).await.ok(200);
        let links = bundle["link"].as_array().unwrap();
        let link = links.iter().find(|link| link["relation"] == "next");
        next = link.map(|link| text(link, "/url").split_once("/fhir/").unwrap().1.to_owned());
        pages.push(matches(&bundle));
        assert!(pages.len() < 40, "they end");
    }
    pages
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_source_writes_ends_a_page_of_its_recipient_early_and_no_search() {
    let daylily = TestDaylily::start().await;
    let evil = daylily.client("evil", FULL, &["own"]).await;
    let good = daylily.client("good", FULL, &["own"]).await;
    let too_long = evil.post("DocumentReference", &about(&format!("https://h/Patient/{}", "a".repeat(60_000)))).await;
    assert_eq!(too_long.said(), (422, "value-too-long"));
    assert!(too_long.text().contains("DocumentReference.subject.reference"), "{}", too_long.text());
    let mut made = Vec::new();
    for at in 0..50 {
        let subject = format!("https://h/Patient/{at}-{}", "a".repeat(4_000));
        made.push(text(&evil.post("DocumentReference", &about(&subject)).await.ok(201), "/id"));
    }
    let pages = pages(&good, "DocumentReference?_count=100").await;
    assert!((2..20).contains(&pages.len()), "{} pages", pages.len());
    let mut found: Vec<String> = pages.concat();
    found.sort();
    made.sort();
    assert_eq!(found, made, "each on one page");
}

/// Asks and reads no more than the first bytes of the answer.
async fn asked_only(daylily: &TestDaylily, actor: &Actor, path: &str) -> (TcpStream, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(daylily.running().address()).await.unwrap();
    let (host, token) = (host(daylily), actor.token().await);
    let request = format!("GET /fhir/{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut first = vec![0; 1024];
    let came = stream.read(&mut first).await.unwrap();
    (stream, String::from_utf8_lossy(&first[..came]).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_are_not_read_stay_within_a_clients_share_of_the_memory() {
    let small = |settings: &mut Settings| settings.limits.body_memory = 6 * u64::try_from(LONG).unwrap();
    let daylily = TestDaylily::start_with("", small).await;
    let hostile = daylily.client("hostile", FULL, &["own"]).await;
    let other = daylily.client("other", FULL, &["own"]).await;
    let id = text(&hostile.post("DocumentReference", &narrated(LONG)).await.ok(201), "/id");
    let others = text(&other.post("DocumentReference", &narrated(LONG / 2)).await.ok(201), "/id");
    let (read, search) = (format!("DocumentReference/{id}"), format!("DocumentReference?_id={id}"));
    for held in [&read, &search] {
        // One is half of the memory that one alone may have.
        let (stream, answer) = asked_only(&daylily, &hostile, held).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{held}: {answer}");
        for path in [&read, &search] {
            assert_eq!(hostile.get(path).await.said(), (429, "rate-limited"), "{path} while {held} is not read");
        }
        for path in [format!("DocumentReference/{others}"), format!("DocumentReference?_id={others}")] {
            assert_eq!(other.get(&path).await.said(), (200, ""), "{path}");
        }
        drop(stream);
        let again = async || (hostile.get(&read).await.status == 200).then_some(());
        daylily.until("what was held is given back", again).await;
    }
}
