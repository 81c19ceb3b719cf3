//! A connection by itself, in time that stands still until something waits for it.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::config::Limits;

fn wire(room: usize) -> (Wire<DuplexStream>, DuplexStream) {
    let (near, far) = duplex(room);
    (Wire::new(near, Patience::of(&Limits::default()), None, None), far)
}

async fn read(wire: &mut Wire<DuplexStream>) -> String {
    let mut bytes = vec![0; 100_000];
    // Longer than anyone is waited for: what never ends fails.
    let length = timeout(Duration::from_secs(7_200), wire.read(&mut bytes)).await.expect("bytes or an end").unwrap();
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn a_head_comes_out_whole_however_it_went_in() {
    let (mut wire, mut far) = wire(1000);
    tokio::spawn(async move {
        for byte in GET.repeat(2).as_bytes() {
            far.write_all(&[*byte]).await.unwrap();
            sleep(Duration::from_millis(10)).await;
        }
        sleep(Duration::from_secs(60)).await;
    });
    assert_eq!(read(&mut wire).await, GET);
    assert_eq!(read(&mut wire).await, GET);
}

#[tokio::test(start_paused = true)]
async fn a207_a_refused_head_is_replaced_and_nothing_passes_behind_it() {
    let (mut wire, mut far) = wire(1000);
    let odd = "GET /fhir/Patient HTTP/1.1\nHost: a\n\n";
    far.write_all(format!("{GET}{odd}{GET}").as_bytes()).await.unwrap();
    assert_eq!(read(&mut wire).await, GET);
    assert!(read(&mut wire).await.starts_with("GET /fhir/!refused HTTP/1.1\r\n"));
    assert_eq!(wire.fault(), Some(Fault::Malformed("line end")));
    far.write_all(GET.as_bytes()).await.unwrap();
    assert!(timeout(Duration::from_secs(600), read(&mut wire)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a207_a_body_that_is_none_ends_there() {
    let (mut wire, mut far) = wire(1000);
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    far.write_all(format!("{head}1\r\na\r\n0\r\nX: y\r\n\r\n{GET}").as_bytes()).await.unwrap();
    assert_eq!(read(&mut wire).await, format!("{head}1\r\na\r\n0\r\n"));
    assert_eq!(read(&mut wire).await, "");
    assert_eq!(read(&mut wire).await, "");
}

#[tokio::test(start_paused = true)]
async fn a204_a_head_has_ten_seconds_however_busily_it_drips() {
    let (mut wire, mut far) = wire(1000);
    let began = Instant::now();
    tokio::spawn(async move {
        for byte in format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(500)).as_bytes() {
            if far.write_all(&[*byte]).await.is_err() {
                return;
            }
            sleep(Duration::from_secs(1)).await;
        }
    });
    assert!(read(&mut wire).await.starts_with("GET /!refused"));
    assert_eq!((began.elapsed().as_secs(), wire.fault()), (10, Some(Fault::Slow)));
}

#[tokio::test(start_paused = true)]
async fn a204_a_connection_without_a_word_is_closed_without_one() {
    let (mut wire, _far) = wire(1000);
    let began = Instant::now();
    assert_eq!((read(&mut wire).await, began.elapsed().as_secs()), (String::new(), 10));
}

#[tokio::test(start_paused = true)]
async fn a204_between_requests_a_head_has_ten_seconds_from_its_first_byte() {
    let (mut wire, mut far) = wire(1000);
    far.write_all(GET.as_bytes()).await.unwrap();
    assert_eq!(read(&mut wire).await, GET);
    assert!(timeout(Duration::from_secs(3_600), read(&mut wire)).await.is_err(), "how long it idles is said elsewhere");
    let began = Instant::now();
    far.write_all(b"G").await.unwrap();
    assert!(read(&mut wire).await.starts_with("GET /!refused"));
    assert_eq!(began.elapsed().as_secs(), 10);
}

/// Seconds until a writer of endless bytes is told to stop; `None`: not within an hour.
async fn cut_after(piece: usize, pause: Duration) -> Option<u64> {
    let (mut wire, mut far) = wire(4096);
    tokio::spawn(async move {
        let mut bytes = vec![0; piece];
        while far.read_exact(&mut bytes).await.is_ok() {
            sleep(pause).await;
        }
    });
    let began = Instant::now();
    let writing = async {
        loop {
            if let Err(error) = wire.write_all(&[0; 64 * 1024]).await {
                return error.kind();
            }
            wire.flush().await.unwrap();
        }
    };
    let ended = timeout(Duration::from_secs(3_600), writing).await;
    ended.ok().map(|kind| {
        assert_eq!(kind, std::io::ErrorKind::TimedOut);
        began.elapsed().as_secs()
    })
}

#[tokio::test(start_paused = true)]
async fn a206_readers_that_stand_still_or_sip_are_cut_and_slow_ones_are_not() {
    // Least: 1 KiB/s over thirty seconds.
    assert_eq!(cut_after(1, Duration::from_secs(4_000)).await, Some(30));
    assert_eq!(cut_after(1, Duration::from_millis(100)).await, Some(30));
    assert_eq!(cut_after(900, Duration::from_secs(1)).await, Some(30));
    assert_eq!(cut_after(1_200, Duration::from_secs(1)).await, None);
    assert_eq!(cut_after(36_000, Duration::from_secs(29)).await, None);
}

#[tokio::test(start_paused = true)]
async fn a206_time_that_the_server_takes_is_not_the_readers() {
    let (mut wire, mut far) = wire(4096);
    tokio::spawn(async move {
        let mut bytes = vec![0; 64 * 1024];
        while far.read(&mut bytes).await.is_ok_and(|length| length > 0) {
            sleep(Duration::from_millis(1)).await;
        }
    });
    for _ in 0..3 {
        wire.write_all(&[0; 64 * 1024]).await.unwrap();
        wire.flush().await.unwrap();
        sleep(Duration::from_secs(100)).await;
    }
}

/// HTTP/2 and its floods are not kept at bay here: they are not in the build. A front proxy may speak it.
#[test]
fn a210_no_http_2_is_built_in() {
    let locked = include_str!("../../../Cargo.lock");
    assert!(locked.contains("name = \"actix-http\"") && !locked.contains("name = \"h2\""));
}
