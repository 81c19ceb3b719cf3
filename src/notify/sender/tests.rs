//! Tests of `sender`, against real receivers on this machine.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::notify::egress::Lookup;
use crate::notify::egress::tests::Scripted;

/// A clock that stands until a test moves it.
#[derive(Debug, Default)]
struct Hands(AtomicUsize);

impl Clock for Hands {
    fn now_micros(&self) -> u64 {
        1_649_367_553_000_000
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::SeqCst) as u64)
    }
}

fn loopback() -> EgressRules {
    EgressRules { allow: vec!["127.0.0.0/8".parse().unwrap()], allow_http: true, own: None }
}

fn sender() -> (Sender, Arc<Hands>) {
    let clock = Arc::new(Hands::default());
    (Sender::new(loopback(), Arc::clone(&clock) as _).unwrap(), clock)
}

/// A receiver that gives every request the same bytes and keeps the connection; heard are whole requests, counted connections.
async fn receiver(answer: &'static [u8]) -> (u16, Arc<AtomicUsize>, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, connections) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let (counter, (tell, heard)) = (connections.clone(), channel());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            let tell = tell.clone();
            tokio::spawn(async move {
                let mut request = vec![0; 16 * 1024];
                while let Ok(count @ 1..) = stream.read(&mut request).await {
                    let _ = tell.send(String::from_utf8_lossy(&request[..count]).into_owned());
                    if answer.is_empty() || stream.write_all(answer).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    (port, connections, heard)
}

fn message(port: u16) -> Outgoing {
    Outgoing {
        method: Method::Post,
        url: format!("http://127.0.0.1:{port}/hook?tenant=7"),
        content_type: Some("application/fhir+json".to_owned()),
        headers: vec![("Authorization".to_owned(), "Bearer receiver-static-token".into())],
        id: "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk".to_owned(),
        body: br#"{"email":"test@example.com","username":"test_user"}"#.to_vec(),
        secrets: vec![Secret::parse("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").unwrap()],
        at: Timestamp::from_millis(1_649_367_553_000),
        timeout: Duration::from_secs(20),
    }
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

#[tokio::test]
async fn a171_a_message_goes_out_signed_with_the_subscribers_own_headers() {
    let (port, _, heard) = receiver(OK).await;
    assert_eq!(sender().0.send(message(port)).await, Answered::Taken);
    let request = heard.recv().unwrap();
    assert!(request.starts_with("POST /hook?tenant=7 HTTP/1.1\r\n"), "{request}");
    for line in [
        "content-type: application/fhir+json\r\n",
        "authorization: Bearer receiver-static-token\r\n",
        "webhook-id: msg_27UH4WbU6Z5A5EzD8u03UvzRbpk\r\n",
        "webhook-timestamp: 1649367553\r\n",
        "webhook-signature: v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=\r\n",
        concat!("user-agent: daylily/", env!("CARGO_PKG_VERSION"), "\r\n"),
    ] {
        assert!(request.contains(line), "{line} in {request}");
    }
    assert!(!request.to_ascii_lowercase().contains("accept-encoding"), "{request}");
}

#[tokio::test]
async fn a160_a_connection_is_kept_but_never_older_than_its_vetting() {
    let (port, connections, _heard) = receiver(OK).await;
    let (sender, clock) = sender();
    for _ in 0..3 {
        assert_eq!(sender.send(message(port)).await, Answered::Taken);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    clock.0.store(30, Ordering::SeqCst);
    assert_eq!(sender.send(message(port)).await, Answered::Taken);
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_client_is_replaced_beside_the_messages_before_it_is_too_old() {
    let (port, connections, _heard) = receiver(OK).await;
    let (sender, clock) = sender();
    assert_eq!(sender.send(message(port)).await, Answered::Taken);
    clock.0.store(25, Ordering::SeqCst);
    assert_eq!(sender.send(message(port)).await, Answered::Taken);
    assert_eq!(connections.load(Ordering::SeqCst), 1, "the message did not wait for the new one");
    let replaced = async {
        while sender.clients.iter().all(|slot| slot.younger_than(RENEWED_FROM, clock.monotonic()).is_none()) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), replaced).await.unwrap();
    clock.0.store(31, Ordering::SeqCst);
    assert_eq!(sender.send(message(port)).await, Answered::Taken);
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a160_a_name_that_begins_to_point_elsewhere_is_refused_when_it_is_vetted_again() {
    let (port, connections, _heard) = receiver(OK).await;
    let (clock, lookup) = (Arc::new(Hands::default()), Arc::new(Scripted(AtomicUsize::new(0))));
    let vetting = Vetting { rules: Arc::new(loopback()), lookup: lookup.clone() };
    let sender = Sender::over(vetting, clock.clone()).unwrap();
    let to = || Outgoing { url: format!("http://partner.example:{port}/"), ..message(port) };
    assert_eq!((sender.send(to()).await, sender.send(to()).await), (Answered::Taken, Answered::Taken));
    clock.0.store(31, Ordering::SeqCst);
    assert_eq!(sender.send(to()).await, Answered::Silent(Silence::Address));
    assert_eq!((lookup.0.load(Ordering::SeqCst), connections.load(Ordering::SeqCst)), (2, 1));
}

#[tokio::test]
async fn a161_a168_answers_are_judged_by_their_status_alone() {
    let (target, followed, _heard) = receiver(OK).await;
    assert_ne!(target, 0);
    let wait = |seconds| Some(Duration::from_secs(seconds));
    for (answer, meaning) in [
        (&b"HTTP/1.1 204 No Content\r\n\r\n"[..], Answered::Taken),
        (b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n", Answered::Gone),
        (
            b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            Answered::Status(301, None),
        ),
        (
            b"HTTP/1.1 307 Temporary\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
            Answered::Status(307, None),
        ),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", Answered::Status(500, None)),
        (b"HTTP/1.1 429 Slow\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n", Answered::Status(429, wait(120))),
        (
            b"HTTP/1.1 503 Busy\r\nRetry-After: Thu, 07 Apr 2022 21:40:13 GMT\r\nContent-Length: 0\r\n\r\n",
            Answered::Status(503, wait(60)),
        ),
        (b"HTTP/1.1 503 Busy\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n", Answered::Status(503, None)),
        (b"nonsense\r\n\r\n", Answered::Silent(Silence::Connection)),
        (b"", Answered::Silent(Silence::Connection)),
    ] {
        let (port, _, _heard) = receiver(answer).await;
        assert_eq!(sender().0.send(message(port)).await, meaning, "{}", String::from_utf8_lossy(answer));
    }
    assert_eq!(followed.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a168_of_an_endless_answer_little_is_read() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let written = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n").await;
        let (piece, mut sum) = (vec![b' '; 64 * 1024], 0_usize);
        while stream.write_all(&piece).await.is_ok() {
            sum += piece.len();
        }
        sum
    });
    assert_eq!(sender().0.send(message(port)).await, Answered::Taken);
    // What fits the sockets' buffers may have been written; the connection was closed all the same.
    assert!(written.await.unwrap() < 64 * 1024 * 1024);
}

#[tokio::test]
async fn a169_a_receiver_that_hangs_costs_its_own_time_only() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let slow = Outgoing { timeout: Duration::from_millis(200), ..message(port) };
    assert_eq!(sender().0.send(slow).await, Answered::Silent(Silence::Time));
}

#[tokio::test]
async fn a158_nothing_is_connected_to_that_is_not_allowed() {
    let (port, connections, _heard) = receiver(OK).await;
    let rules = EgressRules { allow_http: true, ..EgressRules::default() };
    let sender = Sender::new(rules, Arc::new(Hands::default())).unwrap();
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433"] {
        let url = format!("http://{host}:{port}/");
        assert_eq!(sender.send(Outgoing { url, ..message(port) }).await, Answered::Silent(Silence::Address), "{host}");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a164_a_header_that_would_break_the_request_sends_nothing() {
    let (port, connections, _heard) = receiver(OK).await;
    let broken = vec![("X-A".to_owned(), "1\r\nHost: other".into())];
    let answered = sender().0.send(Outgoing { headers: broken, ..message(port) }).await;
    assert_eq!((answered, connections.load(Ordering::SeqCst)), (Answered::Silent(Silence::Address), 0));
    // A line that names one of ours does not replace it.
    let (port, _, heard) = receiver(OK).await;
    let forged = vec![("webhook-signature".to_owned(), "v1,forged".into())];
    assert_eq!(sender().0.send(Outgoing { headers: forged, ..message(port) }).await, Answered::Taken);
    assert!(!heard.recv().unwrap().contains("forged"));
}

/// A resolver as bad ones are, by name.
struct Trouble;

impl Lookup for Trouble {
    fn lookup(&self, name: String) -> futures_util::future::BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            match name.as_str() {
                "slow.example" => std::future::pending().await,
                "servfail.example" => Err(std::io::Error::other("temporary failure in name resolution")),
                "nxdomain.example" => Err(std::io::ErrorKind::NotFound.into()),
                "huge.example" => Ok(vec!["127.0.0.1".parse().unwrap(); 100_000]),
                "huge-mixed.example" => {
                    let mut many = vec!["127.0.0.1".parse().unwrap(); 100_000];
                    many.push("169.254.169.254".parse().unwrap());
                    Ok(many)
                }
                _ => Ok(Vec::new()),
            }
        })
    }
}

/// On one thread: a name that is never found would hold up everything, were it not waited for beside the rest.
#[tokio::test]
async fn f84_names_that_are_late_unknown_or_have_too_many_addresses_cost_their_own_message_only() {
    let (port, connections, _heard) = receiver(OK).await;
    let vetting = Vetting { rules: Arc::new(loopback()), lookup: Arc::new(Trouble) };
    let sender = Arc::new(Sender::over(vetting, Arc::new(Hands::default())).unwrap());
    let to = |name: &str| Outgoing { url: format!("http://{name}:{port}/"), ..message(port) };
    let late = Outgoing { timeout: Duration::from_millis(500), ..to("slow.example") };
    let waiting = tokio::spawn({
        let sender = Arc::clone(&sender);
        async move { sender.send(late).await }
    });
    for unknown in ["servfail.example", "nxdomain.example", "empty.example", "huge-mixed.example"] {
        assert_eq!(sender.send(to(unknown)).await, Answered::Silent(Silence::Address), "{unknown}");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 0);
    assert_eq!(sender.send(to("huge.example")).await, Answered::Taken);
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    assert_eq!(waiting.await.unwrap(), Answered::Silent(Silence::Time));
}
