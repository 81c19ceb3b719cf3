//! One connection to clamd, and the time that it has. Every step (connecting, each write, each read) ends at the deadline, so that a clamd
//! that hangs or drips holds no thread longer than that.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::reply;
use crate::domain::clock::Clock;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// The shortest time that a socket takes; zero would mean "for ever".
const SHORTEST: Duration = Duration::from_millis(1);

/// Where clamd listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A socket in the file system (`LocalSocket`).
    Unix(PathBuf),
    /// Host and port (`TCPAddr`, `TCPSocket`). Bytes go over it as they are.
    Tcp(String, u16),
}

/// When everything must be over.
#[derive(Debug, Clone)]
pub(super) struct Deadline {
    clock: Arc<dyn Clock>,
    end: Duration,
}

impl Deadline {
    pub(super) fn after(clock: &Arc<dyn Clock>, span: Duration) -> Self {
        Self { clock: Arc::clone(clock), end: clock.monotonic().saturating_add(span) }
    }

    /// What is left.
    ///
    /// # Errors
    /// `TimedOut`: nothing.
    pub(super) fn left(&self) -> io::Result<Duration> {
        let left = self.end.saturating_sub(self.clock.monotonic());
        if left < SHORTEST { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

#[derive(Debug)]
enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// A connection for one command.
#[derive(Debug)]
pub(super) struct Wire {
    socket: Socket,
    deadline: Deadline,
}

impl Wire {
    pub(super) fn connect(address: &Address, deadline: Deadline) -> io::Result<Self> {
        let left = deadline.left()?.min(CONNECT);
        let socket = match address {
            Address::Unix(path) => Socket::Unix(connect_unix(path)?),
            Address::Tcp(host, port) => Socket::Tcp(connect_tcp(host, *port, left)?),
        };
        Ok(Self { socket, deadline })
    }

    /// Writes all of it.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let left = Some(self.deadline.left()?);
            let written = match &mut self.socket {
                Socket::Unix(socket) => socket.set_write_timeout(left).and_then(|()| socket.write(bytes)),
                Socket::Tcp(socket) => socket.set_write_timeout(left).and_then(|()| socket.write(bytes)),
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(timed(error)),
            }
        }
        Ok(())
    }

    /// Everything until clamd closes, which it does after one answer; bounded.
    pub(super) fn reply(&mut self) -> io::Result<Vec<u8>> {
        let mut all = Vec::with_capacity(64);
        let mut part = [0; 256];
        while all.len() <= reply::LONGEST {
            let left = Some(self.deadline.left()?);
            let read = match &mut self.socket {
                Socket::Unix(socket) => socket.set_read_timeout(left).and_then(|()| socket.read(&mut part)),
                Socket::Tcp(socket) => socket.set_read_timeout(left).and_then(|()| socket.read(&mut part)),
            };
            match read {
                Ok(0) => break,
                Ok(count) => all.extend_from_slice(part.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A refusal in the middle of a stream is followed by a reset; what came before it was read.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset && !all.is_empty() => break,
                Err(error) => return Err(timed(error)),
            }
        }
        Ok(all)
    }
}

/// A blocking connect waits for ever where clamd is stopped and its queue is full; this one is refused then.
fn connect_unix(path: &std::path::Path) -> io::Result<UnixStream> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &address)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

fn connect_tcp(host: &str, port: u16, left: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in (host, port).to_socket_addrs()?.take(4) {
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A socket says "would block" when its time is over.
fn timed(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}
