//! Whether a download arrived, as the log says it afterwards: real sockets, readers that take it whole, and readers that quit.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::*;

/// Readers that quit, for each size: over 200 in all.
const QUITTERS: usize = 102;
const QUIT_AT: usize = 64 * 1024;

struct Reader {
    socket: TcpStream,
    link: String,
    host: String,
}

impl Reader {
    async fn connect(link: &str) -> Self {
        let rest = link.strip_prefix("http://").unwrap();
        let (host, path) = rest.split_once('/').unwrap();
        let port = host.rsplit_once(':').unwrap().1;
        let socket = TcpStream::connect(format!("127.0.0.1:{port}")).await.unwrap();
        Self { socket, link: format!("/{path}"), host: host.to_owned() }
    }

    async fn ask(&mut self, connection: &str) {
        let head = format!("GET {} HTTP/1.1\r\nHost: {}\r\nConnection: {connection}\r\n\r\n", self.link, self.host);
        self.socket.write_all(head.as_bytes()).await.unwrap();
    }

    /// Reads at least so many bytes of the answer, head and all.
    async fn take(&mut self, least: usize) {
        let mut buffer = vec![0; 16 * 1024];
        let mut got = 0;
        while got < least {
            let length = self.socket.read(&mut buffer).await.unwrap();
            assert!(length > 0, "ended at {got}");
            got += length;
        }
    }

    /// Reads exactly one answer.
    async fn take_answer(&mut self) -> usize {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.socket.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        assert!(head.starts_with("http/1.1 200"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
        let mut body = vec![0; length];
        self.socket.read_exact(&mut body).await.unwrap();
        length
    }
}

/// Ends of downloads in the log, as (whole, broken).
async fn ends(daylily: &TestDaylily, from: u64) -> (usize, usize) {
    let entries = daylily.log_since(from).await;
    let of = |what: &str| entries.iter().filter(|entry| entry.what() == what).count();
    (of("link.redeem ok"), of("link.redeem error"))
}

async fn ended(daylily: &TestDaylily, from: u64, all: usize) -> (usize, usize) {
    daylily
        .until("the ends of all downloads", async || {
            let (whole, broken) = ends(daylily, from).await;
            (whole + broken == all).then_some((whole, broken))
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_reader_that_quits_half_way_has_taken_it() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    for size in [100_000, 300_000] {
        let (_, link) = daylily.ready_link(&source, &pdf(1, size)).await;
        let from = daylily.log_size().await;
        for round in 0..QUITTERS {
            let mut reader = Reader::connect(&link).await;
            reader.ask("keep-alive").await;
            reader.take(QUIT_AT).await;
            // What quits at once, after a moment, and after all that fits has come into its own system's buffer.
            let pause = [0, 5, 50][round % 3];
            tokio::time::sleep(Duration::from_millis(pause)).await;
            drop(reader);
        }
        assert_eq!(ended(&daylily, from, QUITTERS).await, (0, QUITTERS), "{size} bytes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_whole_download_counts_kept_alive_or_not() {
    const ROUNDS: usize = 40;
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    for size in [0, 100_000, 300_000] {
        let bytes = pdf(1, size);
        let (_, link) = daylily.ready_link(&source, &bytes).await;
        let from = daylily.log_size().await;
        let mut kept = Reader::connect(&link).await;
        for _ in 0..ROUNDS {
            kept.ask("keep-alive").await;
            assert_eq!(kept.take_answer().await, bytes.len());
            let mut closing = Reader::connect(&link).await;
            closing.ask("close").await;
            assert_eq!(closing.take_answer().await, bytes.len());
        }
        drop(kept);
        assert_eq!(ended(&daylily, from, 2 * ROUNDS).await, (2 * ROUNDS, 0), "{size} bytes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_reader_that_has_everything_counts_after_the_grace_and_not_before() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let (_, link) = daylily.ready_link(&source, &pdf(1, 100_000)).await;
    let from = daylily.log_size().await;
    let mut reader = Reader::connect(&link).await;
    reader.ask("keep-alive").await;
    reader.take_answer().await;
    // Time for the watch to see that everything was acknowledged: the grace counts from there.
    tokio::time::sleep(Duration::from_millis(300)).await;
    daylily.clock.advance(Duration::from_secs(59));
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(ends(&daylily, from).await, (0, 0));
    daylily.clock.advance(Duration::from_secs(2));
    assert_eq!(ended(&daylily, from, 1).await, (1, 0));
    drop(reader);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_wait_for_silent_readers_and_says_what_they_have() {
    let mut daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let (_, link) = daylily.ready_link(&source, &pdf(1, 100_000)).await;
    let from = daylily.log_size().await;
    let mut reader = Reader::connect(&link).await;
    reader.ask("keep-alive").await;
    reader.take_answer().await;
    daylily.stop().await;
    daylily.start_again().await.unwrap();
    assert_eq!(ended(&daylily, from, 1).await, (1, 0));
    drop(reader);
}
