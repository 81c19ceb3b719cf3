//! HTTP as bytes on a socket: for what no client's library would send, and for counting what comes back.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::{PATIENCE, TestDaylily};

/// One answer, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Heard {
    pub fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }

    pub fn code(&self) -> &str {
        self.header("daylily-error")
    }
}

/// Everything that came over a connection, and whether it ended.
#[derive(Debug)]
pub struct Talk {
    pub answers: Vec<Heard>,
    pub is_closed: bool,
}

impl Talk {
    pub fn statuses(&self) -> Vec<u16> {
        self.answers.iter().map(|answer| answer.status).collect()
    }
}

pub struct RawConnection {
    pub socket: TcpStream,
    came: Vec<u8>,
}

impl RawConnection {
    pub async fn to(daylily: &TestDaylily) -> Self {
        Self::at(daylily.running().address()).await
    }

    pub async fn at(address: SocketAddr) -> Self {
        Self { socket: TcpStream::connect(address).await.unwrap(), came: Vec::new() }
    }

    /// From an address of this machine: all of 127.0.0.0/8 are.
    pub async fn from(own: Ipv4Addr, address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((own, 0))).unwrap();
        Self { socket: socket.connect(address).await.unwrap(), came: Vec::new() }
    }

    /// What a server that has had enough does not read is no failure of the test.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes).await;
    }

    /// Reads until the connection ends, or until so many answers came.
    pub async fn hear(&mut self, most: usize) -> Talk {
        let mut talk = Talk { answers: Vec::new(), is_closed: false };
        let reading = async {
            let mut piece = vec![0; 64 * 1024];
            loop {
                while let Some(answer) = self.next_answer() {
                    talk.answers.push(answer);
                    if talk.answers.len() == most {
                        return;
                    }
                }
                match self.socket.read(&mut piece).await {
                    Ok(0) | Err(_) => {
                        talk.is_closed = true;
                        return;
                    }
                    Ok(length) => self.came.extend_from_slice(&piece[..length]),
                }
            }
        };
        timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("neither an answer nor an end"));
        if talk.is_closed {
            assert!(self.came.is_empty(), "more than answers: {}", String::from_utf8_lossy(&self.came));
        }
        talk
    }

    fn next_answer(&mut self) -> Option<Heard> {
        let end = self.came.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = String::from_utf8(self.came[..end].to_vec()).unwrap();
        let status: u16 = head.strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("{head}"))[..3].parse().unwrap();
        let mut answer = Heard { status, head, body: Vec::new() };
        let length = match status {
            100..200 | 204 | 304 => 0,
            _ => answer.header("content-length").parse::<usize>().unwrap_or_else(|_| panic!("{}", answer.head)),
        };
        answer.body = self.came.get(end..end + length)?.to_vec();
        self.came.drain(..end + length);
        (status >= 200).then_some(answer).or_else(|| self.next_answer())
    }
}

/// Sends bytes over a new connection and reads what comes back, to the end or to the answer of a request that is sent behind them.
pub async fn talk(daylily: &TestDaylily, bytes: &[u8]) -> Talk {
    let mut connection = RawConnection::to(daylily).await;
    connection.send(bytes).await;
    connection.hear(usize::MAX).await
}
