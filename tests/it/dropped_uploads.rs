//! An upload that ends before its answer leaves nothing: wherever its connection is reset, its bytes go, unless a commit names them.

use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use bytes::Bytes;
use daylily::delivery::{Caller, NewUpload};
use daylily::domain::id::RequestId;
use daylily::domain::principal::{AttachmentUrl, Interaction, Permissions, Principal, Reach};
use daylily::domain::resource::Kind;
use futures_util::future::join_all;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::*;

/// Large enough for a file of its own.
const SIZE: usize = 300_000;

fn caller(daylily: &TestDaylily, actor: &Actor) -> Caller {
    let number = daylily.running().delivery().store().client(&actor.id).unwrap().number;
    let mut permissions = Permissions::default();
    for kind in [Kind::Binary, Kind::DocumentReference] {
        permissions.grant(kind, Interaction::Read);
        permissions.grant(kind, Interaction::Create);
    }
    let principal = Principal {
        client: actor.id.clone(),
        number,
        reach: Reach::default(),
        permissions,
        attachment_url: AttachmentUrl::Link,
    };
    let request = RequestId::parse("test").unwrap();
    Caller { principal: Arc::new(principal), request, address: IpAddr::V4(Ipv4Addr::LOCALHOST) }
}

/// Names of all files below the blobs folder, whole or temporary.
fn lying(daylily: &TestDaylily) -> Vec<String> {
    let mut folders = vec![daylily.data().join("blobs")];
    let mut names = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                _ => names.push(entry.file_name().into_string().unwrap()),
            }
        }
    }
    names.sort();
    names
}

/// Waits until exactly what rows name lies there.
async fn only_what_rows_name(daylily: &TestDaylily) -> usize {
    daylily
        .until("files that rows name, and no others", async || {
            let lying = lying(daylily);
            let rows = daylily.running().delivery().store().files_in_blobs(None, 10_000).await.unwrap();
            let mut rows: Vec<String> = rows.iter().map(ToString::to_string).collect();
            rows.sort();
            (lying == rows).then_some(rows.len())
        })
        .await
}

struct Woken(tokio::sync::Notify);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// Polls so many times, each once it is woken, and drops the future then. Whether it was done before that.
async fn dropped_after<T>(polls: usize, work: impl Future<Output = T>) -> bool {
    let woken = Arc::new(Woken(tokio::sync::Notify::new()));
    let waker = Waker::from(Arc::clone(&woken));
    let mut work = pin!(work);
    for poll in 0..polls {
        if poll > 0 {
            tokio::time::timeout(PATIENCE, woken.0.notified()).await.expect("woken");
        }
        if work.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            return true;
        }
    }
    false
}

/// Drops work at its first wait, anew at its second, and so on, until it comes to its end. How often it was dropped.
async fn waits(work: impl AsyncFn()) -> usize {
    let mut polls = 1;
    while !dropped_after(polls, work()).await {
        polls += 1;
    }
    polls - 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_is_dropped_at_any_of_its_waits_leaves_nothing() {
    const ROUNDS: usize = 4;
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let (caller, delivery) = (caller(&daylily, &source), daylily.running().delivery());
    let raw = async || {
        let what = NewUpload {
            media_type: "application/pdf".to_owned(),
            security_context: None,
            idempotency: None,
            length: None,
            sha256: None,
        };
        let mut upload = delivery.begin_upload(&caller, what).await.unwrap();
        upload.write(Bytes::from(pdf(1, SIZE))).await.unwrap();
        upload.finish().await.unwrap();
    };
    let data = [inline("application/pdf", &pdf(2, SIZE)), inline("application/pdf", &pdf(3, SIZE))];
    let body = Bytes::from(document("p1", &data).to_string());
    let whole = async || {
        delivery.create(&caller, Kind::DocumentReference, &body, None).await.unwrap();
    };
    // How often one waits is chance: what it waits for may be there already.
    let mut dropped = 0;
    for _ in 0..ROUNDS {
        dropped += waits(&raw).await + waits(&whole).await;
    }
    assert!(dropped >= ROUNDS, "it waited: {dropped}");
    assert!(only_what_rows_name(&daylily).await >= 3, "those that came to their ends are there");
}

/// Sends a part of an upload, or all of it, and resets the connection a moment later.
async fn reset(daylily: &TestDaylily, token: &str, number: usize) {
    let bytes = pdf(u32::try_from(number).unwrap(), SIZE);
    let mut socket = TcpStream::connect(daylily.running().address()).await.unwrap();
    socket.set_zero_linger().unwrap();
    let head = format!(
        "POST /fhir/Binary HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/pdf\r\nContent-Length: {SIZE}\r\n\r\n",
        host(daylily)
    );
    let part = if number.is_multiple_of(4) { SIZE * (number % 100) / 100 } else { SIZE };
    let sending = async {
        socket.write_all(head.as_bytes()).await?;
        socket.write_all(&bytes[..part]).await
    };
    // A refusal may come before everything is sent.
    let _ = sending.await;
    // Moments at which the server seals, syncs, renames, commits and answers.
    for _ in 0..(number * 37) % 400 {
        tokio::task::yield_now().await;
    }
    drop(socket);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_hundred_uploads_that_are_reset_leave_only_what_rows_name() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let token = source.token().await;
    for round in 0..50 {
        join_all((0..8).map(|number| reset(&daylily, &token, round * 8 + number))).await;
    }
    only_what_rows_name(&daylily).await;
    // None of them is still under way: another upload is taken, and stays.
    let answer = source.upload("application/pdf", &pdf(1, SIZE)).await;
    assert_eq!(answer.status, 201);
    assert!(only_what_rows_name(&daylily).await >= 1);
}
