//! Requests written byte by byte, where a client's program would mend what is sent.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{PATIENCE, TestDaylily};

/// Sends bytes as they are and reads until the server closes; `Host` and `Connection` are the sender's to write.
pub async fn raw(daylily: &TestDaylily, request: &str) -> Vec<u8> {
    let address = daylily.running().address();
    let exchange = async {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A reset after the answer is an end like any other.
        let _ = socket.read_to_end(&mut answer).await;
        answer
    };
    tokio::time::timeout(PATIENCE, exchange).await.expect("an answer in time")
}

pub fn status(answer: &[u8]) -> u16 {
    let line = answer.split(|byte| *byte == b'\r').next().unwrap();
    let text = std::str::from_utf8(line).unwrap();
    text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).unwrap_or("0").parse().unwrap()
}

pub fn holds(answer: &[u8], part: &[u8]) -> bool {
    answer.windows(part.len()).any(|window| window == part)
}

pub fn host(daylily: &TestDaylily) -> String {
    daylily.base().trim_start_matches("http://").to_owned()
}
