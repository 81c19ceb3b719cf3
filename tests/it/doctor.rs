//! `doctor --through`, as an operator runs it beside the server: through a proxy that passes bytes on as they are read, and through one that
//! takes in all there is.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::*;

async fn proxy(target: SocketAddr, buffers: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut reader, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = TcpStream::connect(target).await.unwrap();
                if buffers {
                    take_in_all(reader, server).await;
                } else {
                    let _ = tokio::io::copy_bidirectional(&mut reader, &mut server).await;
                }
            });
        }
    });
    address
}

/// Reads the server as fast as it sends, whatever the reader does.
async fn take_in_all(reader: TcpStream, server: TcpStream) {
    let ((mut from_reader, mut to_reader), (mut from_server, mut to_server)) =
        (reader.into_split(), server.into_split());
    let (held, mut waiting) = tokio::sync::mpsc::unbounded_channel::<Vec<u8>>();
    tokio::spawn(async move { tokio::io::copy(&mut from_reader, &mut to_server).await });
    tokio::spawn(async move {
        let mut piece = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_server.read(&mut piece).await {
            if held.send(piece[..length].to_vec()).is_err() {
                break;
            }
        }
    });
    while let Some(piece) = waiting.recv().await {
        if to_reader.write_all(&piece).await.is_err() {
            break;
        }
    }
}

/// What `doctor` says of the proxy.
async fn examined(daylily: &TestDaylily, through: SocketAddr) -> Value {
    let mut doctor = std::process::Command::new(env!("CARGO_BIN_EXE_daylily"));
    doctor.args(["doctor", "--json", "--through", &format!("http://{through}"), "--data-dir"]).arg(daylily.data());
    // Each of its checks has a bound of its own.
    let done = tokio::task::spawn_blocking(move || doctor.output()).await.unwrap().unwrap();
    let said: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done:?}"));
    let checks = said["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == "proxy").unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_buffers_fails_and_one_that_passes_bytes_on_does_not() {
    let daylily = TestDaylily::start().await;
    let server = daylily.running().address();
    let honest = examined(&daylily, proxy(server, false).await).await;
    assert_eq!(honest["state"], "ok", "{honest}");
    let buffering = examined(&daylily, proxy(server, true).await).await;
    assert_eq!(buffering["state"], "fail", "{buffering}");
    for (field, word) in [
        ("message", "a withdrawn file still reaches its reader from the proxy's buffer"),
        ("message", "uses and receipts are those of the proxy"),
        ("cure", "proxy_buffering off"),
        ("cure", "proxy_request_buffering off"),
        ("cure", "X-Accel-Buffering"),
    ] {
        assert!(text(&buffering, &format!("/{field}")).contains(word), "{word}: {buffering}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn downloads_ask_proxies_not_to_buffer_and_a_test_download_needs_an_operators_word() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let (_, link) = daylily.ready_link(&source, &pdf(1, 1000)).await;
    let answer = daylily.get(&link).await;
    assert_eq!((answer.status, answer.header("x-accel-buffering")), (200, "no"));
    let made_up = daylily.get(&format!("/probe/{}", "0".repeat(32))).await;
    assert_eq!((made_up.status, made_up.header("daylily-error")), (404, "path-unknown"));
}
