//! Uses of counted links as sockets show them: what readers try who want a file more often than once, and what honest ones get.

use serde_json::{Value, json};

use crate::support::*;

const ONCE: &str = "[[rule]]\nname = \"once\"\nlink = { uses = 1, max-uses = 3 }\n";
const LENGTH: usize = 20_000;

struct Rig {
    daylily: TestDaylily,
    source: Actor,
    id: String,
    bytes: Vec<u8>,
}

impl Rig {
    async fn new() -> Self {
        Self::of(LENGTH).await
    }

    async fn of(length: usize) -> Self {
        let daylily = TestDaylily::start_with(ONCE, |_| {}).await;
        let source = daylily.source().await;
        let bytes = pdf(1, length);
        let id = daylily.ready(&source, &document("p1", &[inline("application/pdf", &bytes)])).await;
        Self { daylily, source, id, bytes }
    }

    /// A link for a recipient of its own.
    async fn issue(&self, whom: u32, more: &[(&str, &str, Value)]) -> String {
        let recipient = ("recipient", "valueReference", json!({"reference": format!("Practitioner/{whom}")}));
        let parts: Vec<_> = more.iter().cloned().chain([recipient]).collect();
        let issued = self.source.post(&format!("DocumentReference/{}/$issue-link", self.id), &parameters(&parts)).await;
        text(parameter(&issued.ok(200), "url"), "/valueUrl")
    }

    fn request(&self, method: &str, link: &str, headers: &str) -> Vec<u8> {
        let path = format!("/d/{}", link.rsplit('/').next().unwrap());
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").into_bytes()
    }

    /// One request over a connection of its own, which stays open until the answer was read.
    async fn asked(&self, method: &str, link: &str, headers: &str) -> Heard {
        let mut connection = RawConnection::to(&self.daylily).await;
        connection.send(&self.request(method, link, headers)).await;
        connection.hear(1).await.answers.remove(0)
    }

    async fn get(&self, link: &str, headers: &str) -> (u16, String, usize) {
        let heard = self.asked("GET", link, headers).await;
        (heard.status, heard.code().to_owned(), heard.body.len())
    }

    fn used(&self) -> (u16, String) {
        (410, "link-used".to_owned())
    }

    async fn is_used(&self, link: &str) {
        for _ in 0..2 {
            let (status, code, _) = self.get(link, "").await;
            assert_eq!((status, code), self.used());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_complete_download_the_link_is_used_at_once_on_whatever_connection() {
    let rig = Rig::new().await;
    for whom in 0..20 {
        let link = rig.issue(whom, &[]).await;
        let mut kept = RawConnection::to(&rig.daylily).await;
        kept.send(&rig.request("GET", &link, "")).await;
        let whole = kept.hear(1).await.answers.remove(0);
        assert_eq!((whole.status, whole.body.len()), (200, rig.bytes.len()));
        assert_eq!(whole.header("connection"), "close", "it was the last use");
        // The connection is still open on this side: nothing but acknowledgements says that the file arrived.
        let other = rig.asked("GET", &link, "").await;
        assert_eq!((other.status, other.code().to_owned()), rig.used(), "round {whom}");
        kept.send(&rig.request("GET", &link, "")).await;
        let talk = kept.hear(1).await;
        assert!(talk.answers.iter().all(|answer| answer.status == 410), "{:?}", talk.statuses());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_of_a_spent_link_says_so_at_once() {
    let rig = Rig::new().await;
    let link = rig.issue(1, &[]).await;
    let mut kept = RawConnection::to(&rig.daylily).await;
    kept.send(&rig.request("GET", &link, "")).await;
    assert_eq!(kept.hear(1).await.statuses(), [200]);
    let mut other = RawConnection::to(&rig.daylily).await;
    // The answer to HEAD has a length and no body: only its head is read.
    other.send(&rig.request("HEAD", &link, "Connection: close\r\n")).await;
    let mut head = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut other.socket, &mut head).await.unwrap();
    assert!(head.starts_with(b"HTTP/1.1 410"), "{}", String::from_utf8_lossy(&head));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_but_one_byte_again_and_again_is_never_more_than_twice_the_file() {
    let rig = Rig::new().await;
    let link = rig.issue(1, &[]).await;
    let size = rig.bytes.len();
    let mut handed = 0;
    let (most, last) = (format!("Range: bytes=0-{}\r\n", size - 2), format!("Range: bytes={}-\r\n", size - 1));
    for range in [&last, &most, &most, &most, &last, &last] {
        let (status, code, length) = rig.get(&link, range).await;
        assert!(status == 206 || (status, code) == rig.used());
        handed += if status == 206 { length } else { 0 };
    }
    assert!((size..=2 * size).contains(&handed), "{handed} of {size}");
    rig.is_used(&link).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_pieces_in_any_order_are_one_use() {
    let rig = Rig::new().await;
    let link = rig.issue(1, &[]).await;
    let (size, pieces) = (rig.bytes.len(), 200);
    let mut got = vec![None; size];
    // Every other one first, backwards.
    let order = (0..pieces).rev().filter(|at| at % 2 == 0).chain((0..pieces).rev().filter(|at| at % 2 == 1));
    for at in order {
        let (first, after) = (size * at / pieces, size * (at + 1) / pieces);
        let heard = rig.asked("GET", &link, &format!("Range: bytes={first}-{}\r\n", after - 1)).await;
        assert_eq!(heard.status, 206, "piece {at}: {}", heard.code());
        (first..after).zip(heard.body).for_each(|(at, byte)| got[at] = Some(byte));
    }
    assert_eq!(got.into_iter().collect::<Option<Vec<u8>>>().unwrap(), rig.bytes);
    rig.is_used(&link).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_after_the_last_byte_gives_a_second_copy_and_no_third() {
    let rig = Rig::new().await;
    for whom in 0..5 {
        let link = rig.issue(whom, &[]).await;
        let mut wholes = 0;
        for _ in 0..10 {
            let mut connection = RawConnection::to(&rig.daylily).await;
            connection.send(&rig.request("GET", &link, "")).await;
            let heard = connection.hear(1).await.answers.remove(0);
            wholes += usize::from(heard.status == 200 && heard.body.len() == rig.bytes.len());
            connection.socket.set_zero_linger().unwrap();
        }
        assert!((1..=2).contains(&wholes), "{wholes} whole copies");
        rig.is_used(&link).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_was_handed_out_twice_says_so() {
    let rig = Rig::new().await;
    let link = rig.issue(1, &[]).await;
    let most = format!("Range: bytes=0-{}\r\n", rig.bytes.len() - 2);
    for _ in 0..2 {
        assert_eq!(rig.get(&link, &most).await.0, 206);
    }
    let page = rig.asked("GET", &link, "Accept: text/html\r\n").await;
    let said = String::from_utf8(page.body).unwrap();
    assert!(page.status == 410 && said.contains("handed out twice without a whole download"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_uses_are_three_wholes_and_a_probe_is_none() {
    let rig = Rig::new().await;
    let link = rig.issue(1, &[("uses", "valuePositiveInt", json!(3))]).await;
    for round in 0..3 {
        let (status, _, length) = rig.get(&link, "Range: bytes=0-1\r\n").await;
        assert_eq!((status, length), (206, 2), "round {round}");
        let (status, _, length) = rig.get(&link, "").await;
        assert_eq!((status, length), (200, rig.bytes.len()), "round {round}");
    }
    rig.is_used(&link).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_that_ended_while_the_server_stopped_is_used_after_its_start() {
    let mut rig = Rig::of(400_000).await;
    for whom in 0..3 {
        let link = rig.issue(whom, &[]).await;
        let mut reader = RawConnection::to(&rig.daylily).await;
        reader.send(&rig.request("GET", &link, "")).await;
        let whole = reader.hear(1).await.answers.remove(0);
        assert_eq!((whole.status, whole.body.len()), (200, rig.bytes.len()));
        // Its connection is open when the server is told to stop, and nobody has closed it.
        rig.daylily.stop().await;
        rig.daylily.start_again().await.unwrap();
        assert_eq!(rig.get(&link, "").await.0, 410, "round {whom}");
        drop(reader);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_file_arrives_and_is_used_once() {
    let mut rig = Rig::new().await;
    let file = text(&rig.source.upload("text/plain", b"").await.ok(201), "/id");
    let content = named("text/plain", &format!("Binary/{file}"));
    rig.id = rig.daylily.ready(&rig.source, &document("p1", &[content])).await;
    let link = rig.issue(1, &[]).await;
    let size = rig.daylily.log_size().await;
    assert_eq!(rig.get(&link, "").await, (200, String::new(), 0));
    rig.is_used(&link).await;
    let received = async || {
        let entries = rig.daylily.log_since(size).await;
        entries.iter().any(|entry| entry.what() == "link.redeem ok").then_some(())
    };
    rig.daylily.until("its end in the record", received).await;
}
