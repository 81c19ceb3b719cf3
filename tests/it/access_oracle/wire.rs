//! One kept connection, and answers as they lie on the wire: a client's library would spend most of the time.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub status: u16,
    /// Header lines without `date`, in the order of the alphabet: the framework shuffles them for each answer.
    pub headers: Vec<String>,
    pub body: Vec<u8>,
}

impl Told {
    pub fn header(&self, name: &str) -> Option<&str> {
        let of = |line: &'_ String| line.split_once(": ").is_some_and(|(key, _)| key.eq_ignore_ascii_case(name));
        self.headers.iter().find(|line| of(line)).and_then(|line| line.split_once(": ")).map(|(_, value)| value)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub struct Wire {
    address: SocketAddr,
    stream: Option<TcpStream>,
}

impl Wire {
    pub fn new(address: SocketAddr) -> Self {
        Self { address, stream: None }
    }

    /// Sends one request and reads its answer whole.
    pub async fn ask(&mut self, method: &str, path: &str, token: Option<&str>, body: Option<(&str, &str)>) -> Told {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nX-Request-Id: same\r\n", self.address);
        if let Some(token) = token {
            head.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        if let Some((media_type, body)) = body {
            head.push_str(&format!("Content-Type: {media_type}\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        } else if method == "POST" || method == "PUT" {
            head.push_str("Content-Length: 0\r\n\r\n");
        } else {
            head.push_str("\r\n");
        }
        // A kept connection may have been closed meanwhile; a new one may not.
        if let Some(told) = self.exchange(&head, method).await {
            return told;
        }
        self.stream = None;
        self.exchange(&head, method).await.expect("an answer on a new connection")
    }

    async fn exchange(&mut self, request: &str, method: &str) -> Option<Told> {
        if self.stream.is_none() {
            self.stream = Some(TcpStream::connect(self.address).await.ok()?);
        }
        let stream = self.stream.as_mut()?;
        stream.write_all(request.as_bytes()).await.ok()?;
        let (mut held, mut part) = (Vec::new(), vec![0; 16 * 1024]);
        let end = loop {
            if let Some(end) = held.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            let read = stream.read(&mut part).await.ok().filter(|read| *read > 0)?;
            held.extend_from_slice(&part[..read]);
        };
        let head = String::from_utf8(held[..end].to_vec()).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines.filter(|line| !line.to_ascii_lowercase().starts_with("date:")).map(str::to_owned);
        let mut headers: Vec<String> = headers.collect();
        headers.sort();
        let mut told = Told { status, headers, body: held.split_off(end + 4) };
        assert!(told.header("transfer-encoding").is_none(), "answers here have a length: {:?}", told.headers);
        let length = told.header("content-length").map_or(0, |text| text.parse().unwrap());
        let length = if method == "HEAD" || status == 204 || status == 304 { 0 } else { length };
        while told.body.len() < length {
            let read = stream.read(&mut part).await.ok().filter(|read| *read > 0)?;
            told.body.extend_from_slice(&part[..read]);
        }
        assert_eq!(told.body.len(), length, "nothing follows an answer");
        if told.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            self.stream = None;
        }
        Some(told)
    }
}
