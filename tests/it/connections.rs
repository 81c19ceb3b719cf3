//! One address cannot keep the others from connecting: it has its share of the places, and a new connection gets the place of one on
//! which nothing is being answered. Addresses of 127.0.0.0/8 stand for callers. Nothing here ends by a time of the server's: those
//! are set to more than a test waits.

use std::net::Ipv4Addr;
use std::time::Duration;

use daylily::config::{Settings, Tls};
use futures_util::FutureExt as _;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use crate::support::*;

/// Places for connections; one address has half of them.
const PLACES: usize = 16;
const SHARE: usize = PLACES / 2;
/// Connections of the hostile address.
const MANY: usize = 4 * PLACES;

const HOSTILE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 7);

fn small(settings: &mut Settings) {
    let limits = &mut settings.limits;
    limits.connections = PLACES;
    (limits.head_timeout, limits.keep_alive) = (Duration::from_secs(60), Duration::from_secs(300));
}

async fn start() -> TestDaylily {
    TestDaylily::start_with("", small).await
}

async fn from(daylily: &TestDaylily, own: Ipv4Addr) -> RawConnection {
    RawConnection::from(own, daylily.running().address()).await
}

fn livez(daylily: &TestDaylily) -> Vec<u8> {
    format!("GET /livez HTTP/1.1\r\nHost: {}\r\n\r\n", host(daylily)).into_bytes()
}

async fn asked(daylily: &TestDaylily, connection: &mut RawConnection) -> Vec<u16> {
    connection.send(&livez(daylily)).await;
    connection.hear(1).await.statuses()
}

/// What an address that connects now is answered.
async fn answered(daylily: &TestDaylily, own: Ipv4Addr) {
    assert_eq!(asked(daylily, &mut from(daylily, own).await).await, [200], "{own}");
}

fn is_closed(one: &RawConnection) -> bool {
    !matches!(one.socket.peek(&mut [0]).now_or_never(), None | Some(Ok(1)))
}

/// Waits until the server has looked at all of them: no more than so many are open. One that it looks at later may take the place of a
/// caller that has not yet asked anything.
async fn settled(daylily: &TestDaylily, all: &[RawConnection], most: usize) {
    let few = async || (all.iter().filter(|one| !is_closed(one)).count() <= most).then_some(());
    daylily.until("no more are open than have a place", few).await;
}

async fn flood(daylily: &TestDaylily, number: usize, sent: &[u8]) -> Vec<RawConnection> {
    let mut flood = Vec::new();
    for _ in 0..number {
        let mut one = from(daylily, HOSTILE).await;
        one.send(sent).await;
        flood.push(one);
    }
    flood
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_of_one_address_keep_nobody_waiting() {
    let daylily = start().await;
    let flood = flood(&daylily, MANY, b"").await;
    settled(&daylily, &flood, SHARE).await;
    for _ in 0..3 {
        answered(&daylily, OTHER).await;
    }
    // Nor the next one of the same address, which may be another machine behind it.
    answered(&daylily, HOSTILE).await;
    let metrics = daylily.get("/metrics").await.text().to_owned();
    assert!(!metrics.contains("daylily_connections_evicted_total 0\n"), "{metrics}");
    assert!(metrics.contains("daylily_connections{state=\"silent\"}"), "{metrics}");
    assert!(!metrics.contains("127.0.0."), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_are_never_whole_keep_nobody_waiting() {
    let daylily = start().await;
    let flood = flood(&daylily, MANY, b"GET /livez HTTP/1.1\r\nHo").await;
    settled(&daylily, &flood, SHARE).await;
    answered(&daylily, OTHER).await;
    answered(&daylily, HOSTILE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_idle_after_a_request_keep_nobody_waiting_and_the_oldest_goes_first() {
    let daylily = start().await;
    let mut flood = Vec::new();
    for _ in 0..MANY {
        let mut one = from(&daylily, HOSTILE).await;
        assert_eq!(asked(&daylily, &mut one).await, [200]);
        flood.push(one);
    }
    answered(&daylily, OTHER).await;
    // It keeps its share, the newest ones. Which of neighbours is the older is chance.
    let kept = flood.split_off(MANY - SHARE / 2);
    for mut old in flood.into_iter().take(MANY - 2 * SHARE) {
        assert!(old.hear(1).await.is_closed);
    }
    for mut one in kept {
        assert_eq!(asked(&daylily, &mut one).await, [200]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a211_connections_have_a_number_and_a_new_one_takes_the_place_of_one_that_idles() {
    let daylily = start().await;
    let mut all = Vec::new();
    for number in 1..=5 * u8::try_from(PLACES).unwrap() {
        let mut one = from(&daylily, Ipv4Addr::new(127, 0, 1, number)).await;
        assert_eq!(asked(&daylily, &mut one).await, [200], "{number}");
        all.push(one);
    }
    // The oldest went first. Which of neighbours is the older is chance: it counts from when its answer was seen to be gone.
    for mut old in all.drain(..all.len() - 2 * PLACES) {
        assert!(old.hear(1).await.is_closed);
    }
    settled(&daylily, &all, PLACES).await;
    assert_eq!(all.iter().filter(|one| !is_closed(one)).count(), PLACES);
    for one in all.iter_mut().filter(|one| !is_closed(one)) {
        assert_eq!(asked(&daylily, one).await, [200]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_many_addresses_have_taken_all_there_is_one_more_is_answered() {
    let daylily = start().await;
    let mut silent = Vec::new();
    for number in 1..=60 {
        silent.push(from(&daylily, Ipv4Addr::new(127, 0, 2, number)).await);
        silent.push(from(&daylily, Ipv4Addr::new(127, 0, 2, number)).await);
    }
    settled(&daylily, &silent, PLACES).await;
    answered(&daylily, OTHER).await;
}

/// As many uploads of an address as its share has places; the server has asked each for its bytes.
async fn uploads(daylily: &TestDaylily, own: Ipv4Addr) -> Vec<RawConnection> {
    let token = daylily.source().await.token().await;
    let head = format!(
        "POST /fhir/Binary HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nContent-Type: text/plain\r\n\
         Content-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        host(daylily)
    );
    let mut uploads = Vec::new();
    for _ in 0..SHARE {
        let mut upload = from(daylily, own).await;
        upload.send(head.as_bytes()).await;
        let mut go = [0; 25];
        timeout(PATIENCE, upload.socket.read_exact(&mut go)).await.expect("to be asked").unwrap();
        assert_eq!(&go, b"HTTP/1.1 100 Continue\r\n\r\n");
        uploads.push(upload);
    }
    uploads
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_has_its_share_under_way_waits_its_turn() {
    let daylily = TestDaylily::start_with("", |settings| {
        small(settings);
        settings.limits.turn_wait = Duration::from_secs(20);
    })
    .await;
    let mut uploads = uploads(&daylily, HOSTILE).await;
    let mut next = from(&daylily, HOSTILE).await;
    next.send(&livez(&daylily)).await;
    answered(&daylily, OTHER).await;
    let mut first = uploads.remove(0);
    first.send(b"hello").await;
    assert_eq!(first.hear(1).await.statuses(), [201]);
    drop(first);
    assert_eq!(next.hear(1).await.statuses(), [200]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_being_answered_is_never_broken_off() {
    let daylily = TestDaylily::start_with("", |settings| {
        small(settings);
        settings.limits.turn_wait = Duration::ZERO;
        (settings.limits.body_timeout, settings.limits.body_grace) =
            (Duration::from_secs(300), Duration::from_secs(60));
    })
    .await;
    let uploads = uploads(&daylily, HOSTILE).await;
    // The address has its share, and nothing that could be closed for one more.
    for mut one in flood(&daylily, MANY, b"").await {
        assert!(one.hear(1).await.is_closed);
    }
    answered(&daylily, OTHER).await;
    for mut upload in uploads {
        upload.send(b"hello").await;
        assert_eq!(upload.hear(1).await.statuses(), [201]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_a_trusted_proxy_have_no_share() {
    let daylily = TestDaylily::start_with("", |settings| {
        small(settings);
        settings.server.behind_proxy = true;
        settings.server.trusted_proxies = vec![format!("{OTHER}/32").parse().unwrap()];
    })
    .await;
    let mut proxied = Vec::new();
    for _ in 0..PLACES - 2 {
        let mut one = from(&daylily, OTHER).await;
        assert_eq!(asked(&daylily, &mut one).await, [200]);
        proxied.push(one);
    }
    // Others take their places from each other, not from the proxy.
    let flood = flood(&daylily, MANY, b"").await;
    settled(&daylily, &flood, 2).await;
    answered(&daylily, Ipv4Addr::new(127, 0, 0, 8)).await;
    for one in &mut proxied {
        assert_eq!(asked(&daylily, one).await, [200]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_that_never_end_keep_nobody_waiting() {
    // More than a worker makes at a time where nothing is set.
    const HANDSHAKES: usize = 700;
    let mut daylily = TestDaylily::start_with("", |settings| {
        settings.limits.head_timeout = Duration::from_secs(60);
    })
    .await;
    daylily.stop().await;
    let both = daylily.beside("localhost.pem");
    let pem = include_bytes!("support/localhost.pem");
    std::fs::write(&both, pem).unwrap();
    daylily.change(|settings| settings.server.tls = Some(Tls { certificate: both.clone(), key: both }));
    daylily.start_again().await.unwrap();
    let address = daylily.running().address();
    // The beginning of a record that is a ClientHello (RFC 8446 §5.1).
    let _flood = flood(&daylily, HANDSHAKES, b"\x16\x03\x01").await;
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).local_address(Some(OTHER.into()));
    let client = client.tls_certs_only([reqwest::Certificate::from_pem(pem).unwrap()]).build().unwrap();
    for _ in 0..3 {
        let answer = client.get(format!("https://localhost:{}/livez", address.port())).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
}
