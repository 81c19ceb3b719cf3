//! What networks do, done to every connection of this server by a proxy on this machine: to receivers of notifications, to the antivirus
//! engine, to clients.

use std::io::{Cursor, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use daylily::domain::clock::{Clock, Timestamp};
use daylily::domain::id::FileId;
use daylily::domain::verdict::Verdict;
use daylily::notify::egress::EgressRules;
use daylily::notify::sender::{Answered, Method, Outgoing, Sender, Silence};
use daylily::notify::signature::Secret;
use daylily::scan::clamd::{Address, ClamdScanner};
use daylily::scan::{EngineFailure, ScanError, Scanner, Subject};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::fault_proxy::{End, FaultProxy, Faults, Way};
use crate::support::*;
use crate::webhooks::{Known, Subscribed, deliver, next, receiver, remembered, server, told};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

/// Takes whole requests (a head and as many bytes as it announces), counts them, and answers each alike.
async fn takes_whole_requests(answer: &'static [u8]) -> (FaultProxy, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, heard) = (listener.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
    let counter = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let counter = Arc::clone(&counter);
            tokio::spawn(async move {
                while whole_request(&mut stream).await {
                    counter.fetch_add(1, Ordering::SeqCst);
                    if stream.write_all(answer).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    (FaultProxy::start(address).await, heard)
}

async fn whole_request(stream: &mut TcpStream) -> bool {
    let mut all = Vec::new();
    loop {
        if let Some(head) = memchr::memmem::find(&all, b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&all[..head]).to_ascii_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
            if all.len() >= head + 4 + length.unwrap_or(0) {
                return true;
            }
        }
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(count @ 1..) => all.extend_from_slice(&piece[..count]),
            _ => return false,
        }
    }
}

fn sender() -> Sender {
    let rules = EgressRules { allow: vec!["127.0.0.0/8".parse().unwrap()], allow_http: true, own: None };
    Sender::new(rules, Arc::new(TestClock::default())).unwrap()
}

fn message(proxy: &FaultProxy) -> Outgoing {
    Outgoing {
        method: Method::Post,
        url: format!("http://{}/hook", proxy.address),
        content_type: Some("application/fhir+json".to_owned()),
        headers: Vec::new(),
        id: "msg_1".to_owned(),
        body: b"{\"resourceType\":\"Bundle\"}".to_vec(),
        secrets: vec![Secret::parse("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").unwrap()],
        at: Timestamp::from_millis(1_649_367_553_000),
        timeout: Duration::from_secs(20),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f81_f82_an_answer_that_is_cut_anywhere_is_an_answer_once_its_head_is_whole_and_never_before() {
    let (proxy, heard) = takes_whole_requests(OK).await;
    let sender = sender();
    let head = OK.len() as u64 - 2;
    let mut attempts = 0;
    for end in [End::Close, End::Reset, End::HalfClose] {
        for n in 0..=OK.len() as u64 {
            proxy.set(Faults::down(Way::ends(n, end)));
            let answered = sender.send(message(&proxy)).await;
            attempts += 1;
            let taken = answered == Answered::Taken;
            assert!(taken || answered == Answered::Silent(Silence::Connection), "{end:?} {n}: {answered:?}");
            assert!(!taken || n >= head, "{end:?}: taken after {n} bytes of an answer");
            // A reset overtakes what was sent before it; in order, what came counts.
            assert!(taken || n < head || end == End::Reset, "{end:?}: not taken though the head was whole ({n})");
        }
    }
    // Each attempt is one request: nothing below the schedule repeats it.
    assert_eq!(heard.load(Ordering::SeqCst), attempts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f81_a_request_that_is_cut_anywhere_is_not_taken_and_what_is_changed_is_never_taken_for_another_status() {
    let (proxy, heard) = takes_whole_requests(OK).await;
    let sender = sender();
    assert_eq!(sender.send(message(&proxy)).await, Answered::Taken);
    let length = proxy.up();
    assert!(length > 200, "the request was counted");
    for n in (0..length).step_by(7) {
        proxy.set(Faults::up(Way::ends(n, End::Close)));
        // A connection that was kept would carry none of the faults.
        let answered = self::sender().send(message(&proxy)).await;
        assert_eq!(answered, Answered::Silent(Silence::Connection), "{n}");
    }
    assert_eq!(heard.load(Ordering::SeqCst), 1);
    for at in 0..OK.len() as u64 {
        proxy.set(Faults::down(Way { flip: Some((at, 0x10)), ..Way::default() }));
        // A length that grew is waited for in vain.
        let soon = Outgoing { timeout: Duration::from_millis(300), ..message(&proxy) };
        let answered = self::sender().send(soon).await;
        let changed = OK[at as usize] ^ 0x10;
        match at {
            // The status: another digit is another status, anything else is no answer.
            9..=11 => {
                assert!(answered != Answered::Taken || (at > 9 && changed.is_ascii_digit()), "{at}: {answered:?}")
            }
            _ => assert!(matches!(answered, Answered::Taken | Answered::Silent(_)), "{at}: {answered:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f82_slow_and_piecewise_answers_are_waited_for_and_swallowed_ones_end_in_time() {
    let (proxy, _) = takes_whole_requests(OK).await;
    let slow = Way { piece: Some(3), latency: Duration::from_millis(2), rate: Some(4_000), ..Way::default() };
    proxy.set(Faults { up: Way { piece: Some(64), ..Way::default() }, down: slow });
    assert_eq!(sender().send(message(&proxy)).await, Answered::Taken);
    let soon = |proxy| Outgoing { timeout: Duration::from_millis(300), ..message(proxy) };
    for faults in [
        Faults::up(Way::ends(0, End::Blackhole)),
        Faults::up(Way::ends(100, End::Blackhole)),
        Faults::down(Way::ends(0, End::Blackhole)),
        Faults::down(Way::ends(20, End::Blackhole)),
    ] {
        proxy.set(faults);
        assert_eq!(sender().send(soon(&proxy)).await, Answered::Silent(Silence::Time), "{faults:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f81_f83_whatever_the_network_does_an_event_arrives_in_order_with_its_id_and_body() {
    let daylily = server().await;
    let source = daylily.source().await;
    let known = Known::default();
    let receiver = receiver(&daylily, &known);
    let proxy = FaultProxy::start(receiver.address()).await;
    let through = |wanted: &mut serde_json::Value| {
        wanted["channel"]["endpoint"] = format!("http://{}/hook", proxy.address).into();
    };
    let subscription = Subscribed::with(&daylily, &source, (&receiver, &known), through).await;
    next(&receiver).await;
    subscription.becomes(&daylily, daylily::domain::subscription::SubscriptionStatus::Active).await;
    let mut attempts = 1;
    for (number, faults) in [
        Faults::down(Way::ends(0, End::Close)),
        Faults::down(Way::ends(9, End::Reset)),
        Faults::down(Way::ends(16, End::Close)),
        Faults::down(Way::ends(0, End::Reset)),
    ]
    .into_iter()
    .enumerate()
    {
        // Connections that are kept carry no new faults: they end before.
        daylily.clock.advance(Duration::from_secs(31));
        proxy.set(faults);
        deliver(&source, number as u32).await;
        // It came, but its answer did not: the same again, then the answer too.
        let first = next(&receiver).await;
        attempts += 1;
        remembered(&daylily, attempts).await;
        proxy.set(Faults::default());
        daylily.clock.advance(Duration::from_secs(7));
        let again = next(&receiver).await;
        attempts += 1;
        remembered(&daylily, attempts).await;
        assert_eq!(told(&again, "event-number").unwrap(), (number + 1).to_string());
        assert_eq!((&again.heads.id, &again.body, &again.verified), (&first.heads.id, &first.body, &Some(Ok(()))));
    }
    assert!(receiver.next(Duration::from_millis(200)).await.is_none(), "told once more than needed");
}

/// A clamd that reads a whole stream strictly and gives `reply`; with less it closes.
fn clamd(reply: &'static [u8]) -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut command = [0; 10];
                if stream.read_exact(&mut command).is_err() || &command != b"zINSTREAM\0" {
                    return;
                }
                let mut length = [0; 4];
                while stream.read_exact(&mut length).is_ok() {
                    let count = u32::from_be_bytes(length) as usize;
                    if count == 0 {
                        let _ = stream.write_all(reply);
                        return;
                    }
                    if count > 1 << 20 || stream.read_exact(&mut vec![0; count]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

const LETTER: &[u8] = b"A letter that somebody wrote.";

async fn looked_at(proxy: &FaultProxy, timeout: Duration) -> Result<Verdict, ScanError> {
    let clock: Arc<dyn Clock> = Arc::new(TestClock::default());
    let address = Address::Tcp("127.0.0.1".to_owned(), proxy.address.port());
    let scanner = ClamdScanner::new(address, timeout, clock);
    let size = LETTER.len() as u64;
    let subject = Subject { file: FileId::from_bytes([1; 16]), sha256: sha256(LETTER), declared: "text/plain", size };
    tokio::task::spawn_blocking(move || scanner.scan(&subject, &mut Cursor::new(LETTER))).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f76_f77_a_scan_that_is_cut_anywhere_is_no_verdict_and_may_be_tried_again() {
    let reply: &[u8] = b"stream: OK\0";
    let proxy = FaultProxy::start(clamd(b"stream: OK\0")).await;
    let patient = Duration::from_secs(20);
    assert_eq!(looked_at(&proxy, patient).await.unwrap().finding, None);
    let sent = proxy.up();
    assert_eq!(sent, 10 + 4 + LETTER.len() as u64 + 4);
    let cuts = (0..sent).map(|n| (true, n)).chain((0..reply.len() as u64).map(|n| (false, n)));
    for (up, n) in cuts {
        for end in [End::Close, End::Reset] {
            let way = Way::ends(n, end);
            proxy.set(if up { Faults::up(way) } else { Faults::down(way) });
            let error = looked_at(&proxy, patient).await.expect_err("a verdict");
            assert!(error.retry(), "{error:?}");
            let known = [EngineFailure::Broken, EngineFailure::Nonsense, EngineFailure::Unreachable];
            let of_engine = matches!(error, ScanError::Engine { failure, .. } if known.contains(&failure));
            assert!(of_engine, "up {up} {end:?} {n}: {error:?}");
        }
    }
    for (up, n) in [(true, 0), (true, 12), (true, sent - 1), (false, 0), (false, 5), (false, 10)] {
        let way = Way::ends(n, End::Blackhole);
        proxy.set(if up { Faults::up(way) } else { Faults::down(way) });
        match looked_at(&proxy, Duration::from_millis(150)).await {
            Err(ScanError::Engine { failure: EngineFailure::Late, .. }) => {}
            other => panic!("up {up} {n}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f77_f78_no_bit_that_is_turned_over_in_a_reply_makes_a_file_clean() {
    for (reply, clean) in [(&b"stream: OK\0"[..], true), (&b"stream: Win.Test.EICAR_HDB-1 FOUND\0"[..], false)] {
        let proxy = FaultProxy::start(clamd(reply)).await;
        let whole = looked_at(&proxy, Duration::from_secs(20)).await.unwrap();
        assert_eq!(whole.finding.is_none(), clean);
        for at in 0..reply.len() as u64 {
            for bit in 0..8 {
                proxy.set(Faults::down(Way { flip: Some((at, 1 << bit)), ..Way::default() }));
                match looked_at(&proxy, Duration::from_secs(20)).await {
                    Ok(verdict) => assert!(verdict.finding.is_some() && !clean, "byte {at} bit {bit}: {verdict:?}"),
                    Err(error) => assert!(error.retry(), "byte {at} bit {bit}: {error:?}"),
                }
            }
        }
    }
}

/// The link with the proxy in the place of the server.
fn by_way_of(proxy: &FaultProxy, daylily: &TestDaylily, url: &str) -> String {
    url.replacen(&daylily.base(), &format!("http://{}", proxy.address), 1)
}

async fn in_front_of(daylily: &TestDaylily) -> FaultProxy {
    FaultProxy::start(daylily.running().address()).await
}

/// What comes of a body until it ends or breaks, and its entity tag.
async fn as_far_as_it_goes(request: reqwest::RequestBuilder) -> Option<(u16, Vec<u8>, String)> {
    let mut response = request.send().await.ok()?;
    let tag = response.headers().get("etag").map_or("", |tag| tag.to_str().unwrap()).to_owned();
    let (status, mut body) = (response.status().as_u16(), Vec::new());
    while let Ok(Some(piece)) = response.chunk().await {
        body.extend_from_slice(&piece);
    }
    Some((status, body, tag))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f87_a_download_that_is_cut_anywhere_is_resumed_to_the_same_bytes() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let bytes = pdf(5, 200_000);
    let (_, link) = daylily.ready_link(&source, &bytes).await;
    let proxy = in_front_of(&daylily).await;
    let url = by_way_of(&proxy, &daylily, &link);
    let (status, whole, tag) = as_far_as_it_goes(daylily.http.get(&url)).await.unwrap();
    assert_eq!((status, &whole), (200, &bytes));
    // What the proxy has passed on it counts a moment later.
    let passed = async || (proxy.down() > bytes.len() as u64).then(|| proxy.down());
    let head = daylily.until("all is counted", passed).await - bytes.len() as u64;
    let chunk = 64 * 1024;
    let edges = [0, 1, chunk - 1, chunk, chunk + 1, 2 * chunk - 1, 2 * chunk, 3 * chunk, bytes.len() as u64 - 1];
    for (number, at) in edges.into_iter().enumerate() {
        let end = if number % 2 == 0 { End::Close } else { End::Reset };
        proxy.set(Faults::down(Way::ends(head + at, end)));
        let mut got = match as_far_as_it_goes(daylily.http.get(&url)).await {
            Some((200, body, _)) => body,
            None => Vec::new(),
            other => panic!("{other:?}"),
        };
        assert!(got.len() as u64 <= at && bytes.starts_with(&got), "{at}");
        proxy.set(Faults::default());
        let rest = daylily.http.get(&url).header("range", format!("bytes={}-", got.len())).header("if-range", &tag);
        let (status, rest, _) = as_far_as_it_goes(rest).await.unwrap();
        assert_eq!(status, 206, "{at}");
        got.extend(rest);
        assert!(got == bytes, "{at}: not the same bytes");
    }
    // Of what is no longer the same a part would not fit: the whole comes.
    let other = daylily.http.get(&url).header("range", "bytes=10-").header("if-range", "\"another\"");
    assert_eq!(as_far_as_it_goes(other).await.map(|(status, body, _)| (status, body == bytes)), Some((200, true)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f88_an_upload_whose_client_is_silently_gone_gives_its_place_back() {
    let daylily = TestDaylily::start_with("", |settings| {
        settings.limits.uploads = 1;
        settings.limits.turn_wait = Duration::ZERO;
        settings.limits.body_grace = Duration::from_secs(1);
        settings.limits.body_timeout = Duration::from_secs(2);
    })
    .await;
    let source = daylily.source().await;
    let proxy = in_front_of(&daylily).await;
    proxy.set(Faults::up(Way::ends(20_000, End::Blackhole)));
    let token = source.token().await;
    let url = format!("http://{}/fhir/Binary", proxy.address);
    let request = daylily.http.post(url).bearer_auth(token).header("content-type", "application/pdf");
    let request = request.body(pdf(1, 400_000));
    // The other uploads of this test may have the place for a moment.
    let half_open = tokio::spawn(async move {
        while request.try_clone().unwrap().send().await.is_ok_and(|answer| answer.status() == 429) {}
    });
    // Its place is taken while it lasts.
    daylily
        .until("the place is taken", async || {
            let answer = source.upload("application/pdf", &pdf(2, 400)).await;
            (answer.status == 429).then_some(())
        })
        .await;
    daylily
        .until("the place is free", async || {
            (source.upload("application/pdf", &pdf(2, 400)).await.status == 201).then_some(())
        })
        .await;
    daylily.until("the connection is closed", async || (proxy.left() > 0).then_some(())).await;
    half_open.abort();
}

async fn total(actor: &Actor) -> u64 {
    actor.get("DocumentReference?_summary=count").await.ok(200)["total"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f89_a_create_whose_answer_was_lost_is_sent_again_and_is_one() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let proxy = in_front_of(&daylily).await;
    let token = source.token().await;
    for (count, end) in [End::Close, End::Reset].into_iter().enumerate() {
        let body = document("p1", &[inline("application/pdf", &pdf(count as u32, 400))]).to_string();
        let send = || {
            let request = daylily.http.post(format!("http://{}/fhir/DocumentReference", proxy.address));
            let request = request.bearer_auth(&token).header("content-type", FHIR);
            request.header("idempotency-key", format!("key-{count}")).body(body.clone())
        };
        for n in [0, 12] {
            proxy.set(Faults::down(Way::ends(n, end)));
            assert!(send().send().await.is_err(), "an answer came");
            daylily.until("it is made", async || (total(&source).await == count as u64 + 1).then_some(())).await;
        }
        proxy.set(Faults::default());
        let made = Answer::of(send()).await;
        assert!(matches!(made.status, 200 | 201), "{}", made.text());
        source.get(&format!("DocumentReference/{}", text(&made.json(), "/id"))).await.ok(200);
        assert_eq!(total(&source).await, count as u64 + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f90_bytes_that_were_changed_on_their_way_are_refused_and_nothing_is_kept() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let proxy = in_front_of(&daylily).await;
    let bytes = pdf(7, 600);
    let mut attachment = inline("application/pdf", &bytes);
    let sha1 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &bytes);
    attachment["hash"] = json!(STANDARD.encode(sha1));
    let body = document("p1", &[attachment]).to_string();
    let head = format!(
        "POST /fhir/DocumentReference HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: {FHIR}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        proxy.address,
        source.token().await,
        body.len()
    );
    let data = (head.len() + body.find(&STANDARD.encode(&bytes)).unwrap()) as u64;
    let send = async || {
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    };
    let length = STANDARD.encode(&bytes).len() as u64 - 4;
    for at in (0..length).step_by(23) {
        // 0x01 turns most letters of base64 into others, so that the JSON and the base64 still hold.
        for bits in [0x01, 0x80] {
            proxy.set(Faults::up(Way { flip: Some((data + at, bits)), ..Way::default() }));
            let answer = send().await;
            assert!(answer.starts_with("HTTP/1.1 4"), "byte {at} bits {bits}: {}", answer.lines().next().unwrap());
        }
    }
    assert_eq!(total(&source).await, 0);
    assert_eq!(daylily.stored_rows("SELECT count(*) AS n FROM file"), 0);
    proxy.set(Faults::default());
    assert!(send().await.starts_with("HTTP/1.1 201"), "untouched it is taken");
}
